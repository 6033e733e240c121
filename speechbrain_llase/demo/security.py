"""Who may use the page, what a browser may load, and what the page keeps."""

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and no leftover removed
    fcntl = None

PREFIX = "speechbrain_llase_page_"  # of the private folder's name
POLICY = (  # Gradio's page is one inline script, and compiles its templates
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "frame-ancestors 'self'; form-action 'self'; base-uri 'self'; "
    "object-src 'none'"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}


class SecurityHeaders:
    """ASGI middleware: browsers load from this server only, and keep no file.

    Which files are sent at all is Gradio's business: those of its own folder.
    """

    def __init__(self, app: Callable[..., Awaitable]):
        self.app = app

    async def __call__(self, scope: dict, receive, send) -> None:
        """Answer one request."""

        async def send_with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                extra = dict(HEADERS)
                if "/file" in scope["path"]:
                    extra[b"cache-control"] = b"private, no-store"
                kept = [x for x in message["headers"] if x[0] not in extra]
                message = {**message, "headers": [*kept, *extra.items()]}
            await send(message)

        await self.app(scope, receive, send_with_headers)


def read_users(path: Path) -> list[tuple[str, str]]:
    """Read lines of the form name:password; at least one.

    Blank lines and lines that begin with # are skipped. Raises a ValueError
    if a line is of another form, or others than its owner may read the file.
    """
    try:
        mode = path.stat().st_mode
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise ValueError(f"--users {path} cannot be read: {err}") from err
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        raise ValueError(
            f"--users {path} can be read by others; run chmod 600 {path}."
        )
    users = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, password = line.partition(":")
        if not (name.strip() and password):
            raise ValueError(
                f"--users {path}, line {number}: write name:password."
            )
        users.append((name.strip(), password))
    if not users:
        raise ValueError(f"--users {path} names nobody: write name:password.")
    return users


@contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder that its owner alone may read; remove it at the end.

    It is made in `parent` or the system's temporary folder, where folders
    that killed pages left are removed first. It is resolved, and locked, so
    that no other page takes it for a leftover.
    """
    parent = Path(parent or tempfile.gettempdir())
    remove_leftovers(parent)
    # locked before it has the name that `remove_leftovers` looks for
    made = Path(tempfile.mkdtemp(prefix=".", dir=parent))  # mode 700
    handle = lock_folder(made)
    folder = made.rename(parent / f"{PREFIX}{secrets.token_hex(8)}").resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def lock_folder(folder: Path) -> int | None:
    """Lock a folder until its handle is closed; None if it cannot be had."""
    if fcntl is None:
        return None
    handle = None
    try:
        # no pipe, which would wait for somebody, and no link
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # of another user, or locked by a page that runs
        if handle is not None:
            os.close(handle)
        return None
    return handle


def remove_leftovers(parent: Path) -> None:
    """Remove folders of pages that were killed before they could clean up."""
    for folder in parent.glob(f"{PREFIX}*"):
        handle = lock_folder(folder)
        if handle is not None:
            shutil.rmtree(folder, ignore_errors=True)  # no link: it refuses
            os.close(handle)
