"""Who may use the page, and what a browser may load for it."""

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

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
        lines = path.read_text("utf-8").splitlines()
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
