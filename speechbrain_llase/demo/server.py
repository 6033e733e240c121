"""Serve the page until it is told to end, and leave nothing behind.

Authors
 * The speechbrain_llase contributors 2026
"""

import ipaddress
import os
import signal
import socket
import threading
import time
from contextlib import closing
from dataclasses import dataclass

from speechbrain_llase.demo.private_folder import PrivateFolder

QUEUE = 30  # presses that wait; more are refused
SWEEP_S = 30.0  # seconds between two looks for old files
PATIENCE_S = 10.0  # seconds for a window that runs when the page ends


@dataclass(frozen=True)
class Place:
    """Where the page is."""

    host: str
    port: int
    root_path: str = ""  # prefix at a proxy, such as /enhance
    open_browser: bool = False


def find_port(host: str, port: int) -> int:
    """Check that a port can be had; find one for 0.

    Arguments
    ---------
    host : str
        Address to listen at.
    port : int
        0 means any that is free.

    Returns
    -------
    port : int

    Raises
    ------
    ValueError
        If it is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with closing(socket.socket(family)) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
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


def quiet_gradio() -> None:
    """Switch off what Gradio and the hub would tell others; call it first."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    for name in ("ALLOWED_PATHS", "SHARE", "MCP_SERVER", "NUM_WORKERS"):
        os.environ.pop(f"GRADIO_{name}", None)
    # Gradio asks its own server whether it runs: not through a proxy
    direct = os.environ.get("NO_PROXY") or os.environ.get("no_proxy", "")
    local = ["127.0.0.1", "localhost"]
    os.environ["NO_PROXY"] = ",".join(filter(None, [direct, *local]))


def signals_end() -> None:
    """Let SIGTERM and SIGHUP end the page as Ctrl-C does.

    One that is ignored stays so: `nohup` asks for that.
    """

    def end(*_) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def ignore_signals() -> None:
    """Let no second Ctrl-C end the cleaning up."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def serve(shared, place: Place, check_user, max_bytes: int) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Arguments
    ---------
    shared : layout.Shared
        Models, private folder, limits.
    place : Place
        Address and port.
    check_user : coroutine function, optional
        Of name and password; None lets everybody in.
    max_bytes : int
        Of an upload.

    Raises
    ------
    OSError
        If the port was taken meanwhile.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    from speechbrain_llase.demo import report
    from speechbrain_llase.demo.events import build_page
    from speechbrain_llase.demo.security import Fence

    fence = Middleware(Fence, served=shared.private.served)
    page = build_page(shared)
    page.queue(max_size=QUEUE, api_open=False)
    page.launch(
        server_name=place.host,
        server_port=place.port,
        root_path=place.root_path,
        inbrowser=place.open_browser,
        auth=check_user,
        max_file_size=max_bytes,
        app_kwargs={"middleware": [fence]},
        css=report.STYLE,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"]),
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
        print(f"The page is at {page.local_url} (Ctrl-C ends it)", flush=True)
        sweep_until(shared.private, threading.Event())
    except KeyboardInterrupt:
        ignore_signals()
    finally:
        shared.presses.close(PATIENCE_S)
        page.close(verbose=False)


def sweep_until(private: PrivateFolder, ended: threading.Event) -> None:
    """Delete old files from time to time."""
    pause_s = min(SWEEP_S, private.keep_s / 4)
    begin = time.monotonic()
    # short waits: on Windows Ctrl-C is heard only when one is over
    while not ended.wait(min(1.0, pause_s)):
        if time.monotonic() - begin >= pause_s:
            private.sweep()
            begin = time.monotonic()
