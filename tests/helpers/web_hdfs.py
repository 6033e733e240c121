"""A WebHDFS server for tests: a folder behind Hadoop's REST interface.

It speaks the part of the protocol that fsspec's `webhdfs://` uses, redirects
to a data node included, and like HDFS renames onto nothing that is there. It
is another system in all that matters: paths mean nothing on this machine,
files cannot be appended to through `open`, and any process can reach it.
"""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

PREFIX = "/webhdfs/v1"


class Handler(BaseHTTPRequestHandler):
    """Answers to the operations of WebHDFS, on `self.server.folder`."""

    disable_nagle_algorithm = True  # or each answer waits for 40 ms
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(
            {
                "GETFILESTATUS": self.status,
                "LISTSTATUS": self.listing,
                "OPEN": self.read,
            }
        )

    def do_PUT(self):
        self.answer(
            {"CREATE": self.create, "MKDIRS": self.mkdirs, "RENAME": self.move}
        )

    def do_POST(self):
        self.answer({"APPEND": self.append})

    def do_DELETE(self):
        self.answer({"DELETE": self.delete})

    def log_message(self, *_):
        pass

    def answer(self, operations):
        url = urlsplit(self.path)
        self.query = {k: v[0] for k, v in parse_qs(url.query).items()}
        self.name = unquote(url.path).removeprefix(PREFIX)
        self.body = self.rfile.read(int(self.headers["content-length"] or 0))
        self.server.seen.append((self.query["op"], self.name))
        if self.name.startswith("/locked"):
            return self.fault(403, "AccessControlException", "not yours")
        operations[self.query["op"]](self.local(self.name))

    def local(self, name) -> Path:
        return self.server.folder / name.strip("/")

    def send(self, data: bytes, code=200, **headers):
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def send_json(self, value):
        self.send(json.dumps(value).encode())

    def fault(self, code, kind, message):
        told = {"exception": kind, "message": message}
        self.send(json.dumps({"RemoteException": told}).encode(), code)

    def redirected(self) -> bool:
        """Send the client to the data node, as Hadoop does, the first time."""
        if "datanode" in self.query:
            return True
        host = self.headers["host"]
        self.send(b"", 307, Location=f"http://{host}{self.path}&datanode=1")
        return False

    def describe(self, path: Path) -> dict:
        kind = "DIRECTORY" if path.is_dir() else "FILE"
        size = 0 if path.is_dir() else path.stat().st_size
        return {"type": kind, "length": size, "pathSuffix": path.name}

    def missing(self, path) -> bool:
        if not path.exists():
            self.fault(404, "FileNotFoundException", f"no {self.name}")
        return not path.exists()

    def status(self, path):
        if not self.missing(path):
            self.send_json({"FileStatus": self.describe(path)})

    def listing(self, path):
        if not self.missing(path):
            inside = [self.describe(child) for child in path.iterdir()]
            self.send_json({"FileStatuses": {"FileStatus": inside}})

    def read(self, path):
        if self.missing(path):
            return
        start = int(self.query.get("offset", 0))
        length = int(self.query.get("length", path.stat().st_size))
        with open(path, "rb") as file:
            file.seek(start)
            self.send(file.read(length))

    def create(self, path):
        if self.redirected():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.body)
            self.send(b"", 201)

    def append(self, path):
        if self.redirected():
            with open(path, "ab") as file:
                file.write(self.body)
            self.send(b"")

    def mkdirs(self, path):
        path.mkdir(parents=True, exist_ok=True)
        self.send_json({"boolean": True})

    def move(self, path):
        target = self.local(self.query["destination"])
        moved = not target.exists()
        if moved:
            path.rename(target)
        self.send_json({"boolean": moved})

    def delete(self, path):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        self.send_json({"boolean": True})


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder; yields the URL of its top."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.folder, server.seen = folder, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"webhdfs://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
