"""A fence around the server: what it sends, and what a browser may fetch.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

FETCH = re.compile(r"/(?:file=|file/|proxy=)(.*)", re.DOTALL)
POLICY = "; ".join(
    (
        "default-src 'self'",
        # Gradio's page is one inline script, and compiles its templates
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "frame-ancestors 'self'",
        "form-action 'self'",
        "base-uri 'self'",
        "object-src 'none'",
    )
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}


class Fence:
    """ASGI middleware: files of one folder only, and nobody else's scripts.

    Gradio checks paths itself. This is a second lock: it also refuses
    Gradio's fetching of foreign addresses, and tells browsers to load nothing
    from other servers and to keep no copy of a file.

    Arguments
    ---------
    app : callable
        The ASGI application behind it.
    served : Path
        The folder whose files may be sent, resolved.
    """

    def __init__(self, app: Callable[..., Awaitable], served: Path):
        self.app = app
        self.served = served

    async def __call__(self, scope: dict, receive, send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = FETCH.search(scope["path"])
        if asked and not self.may_send(asked[1]):
            await refuse(send)
            return
        extra = dict(HEADERS)
        if asked:
            extra[b"cache-control"] = b"private, no-store"

        async def send_on(message: dict) -> None:
            if message["type"] == "http.response.start":
                kept = [x for x in message["headers"] if x[0] not in extra]
                message = {**message, "headers": [*kept, *extra.items()]}
            await send(message)

        await self.app(scope, receive, send_on)

    def may_send(self, path: str) -> bool:
        """Whether a path, links resolved, lies in the served folder."""
        try:
            found = Path(os.path.realpath(path))
        except (OSError, ValueError):  # a loop of links, a null byte
            return False
        return self.served in found.parents


async def refuse(send) -> None:
    """Answer 403, without repeating what was asked for."""
    await send(
        {
            "type": "http.response.start",
            "status": 403,
            "headers": [(b"content-type", b"text/plain; charset=utf-8")],
        }
    )
    await send({"type": "http.response.body", "body": b"Not allowed."})
