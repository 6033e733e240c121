"""As much of the Hugging Face hub as its client asks for.

Addresses are those of the hub's resolve API. HEAD states the checksum, the
size and the commit, and points, as the hub does for large files, to a store on
another host, with a signature that holds for a while only.
"""

import hashlib
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class Hub:
    """Files by their address; tests set how it misbehaves."""

    def __init__(self, files: dict[str, Path]):
        self.files = {
            f"/{repo}/resolve/main/{name}": path
            for full, path in files.items()
            for repo, name in [split(full)]
        }
        self.etags = {}
        for address, path in self.files.items():
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256")
            self.etags[address] = digest.hexdigest()
        self.signature = 0  # the one that the store accepts
        self.cut = None  # bytes after which a connection breaks
        self.broken = False  # no file is given at all (503)
        self.slow = False  # a file takes seconds
        self.page = b""  # given in place of a file
        self.log = []  # (method, address, Range) of every request
        self.endpoint = self.store = ""

    def gets(self) -> list[tuple]:
        """Address and Range of the downloads."""
        return [
            (path, start) for method, path, start in self.log if method == "GET"
        ]


def split(full: str) -> tuple[str, str]:
    """Repository and name of ORG/NAME/FILE."""
    org, repo, name = full.split("/", 2)
    return f"{org}/{repo}", name


class Handler(BaseHTTPRequestHandler):
    """What the hub and its store have in common."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status: int, length: int, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


class Resolver(Handler):
    """Tells where a file is."""

    def do_HEAD(self):
        self.point("HEAD")

    def do_GET(self):
        self.point("GET")

    def point(self, method: str):
        hub, address = self.server.hub, unquote(self.path)
        hub.log.append((method, address, self.headers["Range"]))
        if address not in hub.files:
            return self.answer(404, 0, X_Error_Code="EntryNotFound")
        self.answer(
            302,
            0,
            ETag='"of-the-pointer"',
            Location=f"{hub.store}{self.path}?signature={hub.signature}",
            X_Repo_Commit="0123456789" * 4,
            X_Linked_ETag=f'"{hub.etags[address]}"',
            X_Linked_Size=str(hub.files[address].stat().st_size),
        )


class Store(Handler):
    """Gives bytes, from Range on."""

    def do_GET(self):
        hub, wanted = self.server.hub, self.headers["Range"]
        path, _, signature = self.path.partition("?signature=")
        if signature != str(hub.signature):
            return self.answer(403, 0)
        if hub.broken:
            return self.answer(503, 0)
        source = hub.files[unquote(path)]
        size = len(hub.page) or source.stat().st_size
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.answer(
            206 if wanted else 200,
            size - first,
            Content_Range=f"bytes {first}-{size - 1}/{size}",
        )
        if hub.page:
            self.wfile.write(hub.page[first:])
            return
        with open(source, "rb") as file:
            file.seek(first)
            if hub.cut is not None:
                self.wfile.write(file.read(hub.cut))
                hub.cut, hub.broken = None, True
                self.close_connection = True
            elif hub.slow:
                self.wfile.write(file.read(100_000))
                self.wfile.flush()
                time.sleep(30)
            else:
                shutil.copyfileobj(file, self.wfile, 1 << 20)


@contextmanager
def serve(files: dict[str, Path]) -> Iterator[Hub]:
    """A running hub with some files, by ORG/NAME/FILE."""
    hub, servers = Hub(files), []
    for handler in (Resolver, Store):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.hub = hub
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
    hub.endpoint, hub.store = (
        f"http://127.0.0.1:{server.server_port}" for server in servers
    )
    hub.servers = servers
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
