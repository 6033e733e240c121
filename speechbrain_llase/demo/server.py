"""Serve the page until it is told to end, and leave nothing behind."""

import ipaddress
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_WAITING = 30  # visitors in the queue; more are refused


def find_port(host: str, port: int) -> int:
    """Find a port for 0; a ValueError if the one asked for cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as trial:
            return trial.getsockname()[1]
    except (OSError, OverflowError) as err:
        raise ValueError(
            f"--host {host} --port {port} cannot be used ({err}). Choose "
            "another port; 0 means any that is free."
        ) from err


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address.

    Example
    -------
    >>> is_local("localhost"), is_local("127.0.0.1"), is_local("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def prepare_gradio(folder: Path) -> None:
    """Keep its files in a folder, and it from telling others; call it first."""
    os.environ["GRADIO_TEMP_DIR"] = os.environ["TMPDIR"] = str(folder)
    os.environ["GRADIO_EXAMPLES_CACHE"] = tempfile.tempdir = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    for name in ("ALLOWED_PATHS", "SHARE", "MCP_SERVER", "NUM_WORKERS"):
        os.environ.pop(f"GRADIO_{name}", None)
    # Gradio asks its own server whether it runs: not through a proxy
    direct = os.environ.get("NO_PROXY") or os.environ.get("no_proxy", "")
    local = ["127.0.0.1", "localhost"]
    os.environ["NO_PROXY"] = ",".join(filter(None, [direct, *local]))


def end_by_signals() -> None:
    """Let SIGTERM and SIGHUP end the page as Ctrl-C does.

    One that is ignored stays so: `nohup` asks for that.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def ignore_signals() -> None:
    """Let no second Ctrl-C end the cleaning up."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


@contextmanager
def serving(shared, **place) -> Iterator[str]:
    """Serve the page while the block runs, and yield its address.

    `place` is Gradio's server_name, server_port, root_path, inbrowser and
    auth. Raises an OSError if the port was taken meanwhile.
    """
    from speechbrain_llase.demo import report
    from speechbrain_llase.demo.events import build_page
    from speechbrain_llase.demo.layout import make_theme

    page = build_page(shared)
    page.queue(max_size=MAX_WAITING, api_open=False)
    page.launch(
        **place,
        max_file_size=shared.limits.max_bytes,
        app_kwargs={"middleware": middleware(**place)},
        css=report.STYLE,
        theme=make_theme(),
        footer_links=[],
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
    )
    try:
        yield page.local_url
    finally:
        page.close(verbose=False)  # it cancels what is at work, and waits 5 s


def middleware(server_name: str, root_path="", auth=None, **_) -> list:
    """What stands before Gradio.

    A page of this computer alone answers to its own names only, so that no
    website whose name is made to mean this computer can talk to it. Behind a
    proxy it has other names; users have to log in by each of them.
    """
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from speechbrain_llase.demo.security import SecurityHeaders

    layers = [Middleware(SecurityHeaders)]
    if is_local(server_name) and not (root_path or auth):
        names = [server_name, "localhost", "127.0.0.1", "::1", "[::1]"]
        layers.append(Middleware(TrustedHostMiddleware, allowed_hosts=names))
    return layers
