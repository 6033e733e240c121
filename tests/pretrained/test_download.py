"""Downloads, from a local server that speaks the hub's resolve API."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.cli.parser import main
from speechbrain_llase.pretrained.download import (
    OFFICIAL,
    check_space,
    fetch,
    plan,
)

NAMES = ("WavLM-Large.pt", "best.pt.tar", "xcodec2.ckpt")
LM = "/BeauKang01/LLaSE/resolve/main/best.pt.tar"
PIECE = 10_000
INTERRUPTIBLE = f"""
import signal, sys
# a process in the background may be born deaf to Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = {PIECE}
from speechbrain_llase.cli.parser import main
sys.exit(main(sys.argv[1:]))
"""
HEADS = ["--lm-heads", "4", "--codec-heads", "2"]


class Hub(ThreadingHTTPServer):
    """Files by their path; tests set how it misbehaves."""

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.files = files
        self.etags = {
            k: hashlib.sha256(v).hexdigest() for k, v in files.items()
        }
        self.cut = None  # bytes after which a connection breaks
        self.broken = False  # no file is given at all (503)
        self.slow = False  # a file takes seconds
        self.page = b""  # given in place of a file
        self.log = []  # (method, path, Range) of every request
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def gets(self) -> list[tuple]:
        """Path and Range of the downloads."""
        return [
            (path, start) for method, path, start in self.log if method == "GET"
        ]


class HubHandler(BaseHTTPRequestHandler):
    """HEAD tells ETag, commit and size; GET gives bytes, from Range on."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status: int, length: int, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_HEAD(self):
        hub = self.server
        hub.log.append(("HEAD", self.path, None))
        if self.path not in hub.files:
            return self.answer(404, 0, X_Error_Code="EntryNotFound")
        size = len(hub.files[self.path])
        self.answer(
            200,
            size,
            ETag=f'"{hub.etags[self.path]}"',
            X_Repo_Commit="0123456789" * 4,
            X_Linked_Size=str(size),
        )

    def do_GET(self):
        hub, wanted = self.server, self.headers["Range"]
        hub.log.append(("GET", self.path, wanted))
        if hub.broken:
            return self.answer(503, 0)
        if not hub.page and self.path not in hub.files:
            return self.answer(404, 0)  # what else the client asks for
        content = hub.page or hub.files[self.path]
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.answer(
            206 if wanted else 200,
            len(content) - first,
            Content_Range=f"bytes {first}-{len(content) - 1}/{len(content)}",
        )
        rest = content[first:]
        if hub.cut is not None:
            self.wfile.write(rest[: hub.cut])
            hub.cut, hub.broken = None, True
            self.close_connection = True
        elif hub.slow:
            self.wfile.write(rest[:100_000])
            self.wfile.flush()
            time.sleep(30)
        else:
            self.wfile.write(rest)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """The client writes 10 MB at a time: less, for small files."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", PIECE)


@pytest.fixture
def hub(stand_in_files):
    """A running hub with the stand-in files under their official names."""
    paths = [
        f"/{source.repo}/resolve/main/{source.name}"
        for source in OFFICIAL["llase"]
    ]
    server = Hub(
        {
            path: (stand_in_files / name).read_bytes()
            for path, name in zip(paths, NAMES, strict=True)
        }
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def download(hub, folder, *options) -> int:
    """Run the command."""
    return main(
        ["download", "llase", "--output", str(folder), *HEADS]
        + ["--endpoint", hub.endpoint, "--accept-licences", *options]
    )


def test_download_converts_and_is_cached(
    hub, tmp_path, golden, capsys, monkeypatch
):
    """The golden tokens come out; a second time nothing is asked for."""
    folder = tmp_path / "models" / "llase"
    assert download(hub, folder, "--dtype", "float32") == 0
    shown = capsys.readouterr().out
    for text in ("CC-BY-NC-4.0", "best.pt.tar", " MB", str(folder)):
        assert text in shown
    noisy = torch.from_numpy(golden["noisy"]).float()[None] / 32768
    tokens = EnhanceLLaSE.from_hparams(folder).predict_tokens(noisy)[0]
    assert tokens.tolist() == golden["tokens"].tolist()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["sources"]["lm"]["sha256"] == hub.etags[LM]
    cache = tmp_path / "models" / "official_files"
    kept = cache / "BeauKang01--LLaSE" / "best.pt.tar"
    assert kept.read_bytes() == hub.files[LM]
    note = kept.with_name("best.pt.tar.sha256").read_text()
    assert note == f"{hub.etags[LM]}  best.pt.tar\n"
    hub.log.clear()
    assert download(hub, tmp_path / "models" / "again") == 0
    assert not hub.log
    assert "there already" in capsys.readouterr().out
    # what was changed meanwhile is fetched anew
    kept.write_bytes(b"spoilt")
    assert download(hub, tmp_path / "models" / "third") == 0
    assert hub.gets() == [(LM, None)]
    assert kept.read_bytes() == hub.files[LM]


def test_interrupted_download_resumes(hub, tmp_path, capsys):
    """The next run asks for the rest alone; nothing looks complete before."""
    first, second, _ = hub.files
    hub.cut = 60_000
    assert download(hub, tmp_path / "llase") == 1
    assert "run the same command again" in capsys.readouterr().err
    assert not (tmp_path / "llase").exists()
    parts = list((tmp_path / "official_files").rglob("*.part"))
    assert [part.stat().st_size for part in parts] == [60_000]
    assert hub.files[first].startswith(parts[0].read_bytes())
    hub.broken = False
    hub.log.clear()
    assert download(hub, tmp_path / "llase") == 0
    assert hub.gets()[:2] == [(first, "bytes=60000-"), (second, None)]
    assert "of it to fetch" in capsys.readouterr().out
    assert (tmp_path / "llase" / "manifest.json").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_killed_process_resumes(hub, tmp_path):
    """Ctrl-C in the middle of a file: what came is kept."""
    hub.slow = True
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "download", "llase"]
        + ["--output", str(tmp_path / "llase"), "--accept-licences", *HEADS],
        env={**os.environ, "HF_ENDPOINT": hub.endpoint},
    )
    deadline = time.monotonic() + 60
    while not hub.gets() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    hub.slow = False
    hub.log.clear()
    assert download(hub, tmp_path / "llase") == 0
    (_, start), *others = hub.gets()
    assert start == "bytes=100000-"
    assert all(other is None for _, other in others)


@pytest.mark.parametrize("trouble", ["checksum", "page"])
def test_wrong_content_is_deleted(hub, tmp_path, capsys, trouble):
    """Another checksum than announced, and a web page in a file's place."""
    if trouble == "checksum":
        hub.etags[LM] = "0" * 64
        expected = f"SHA-256 {hashlib.sha256(hub.files[LM]).hexdigest()}"
    else:
        hub.page = b"<!doctype html><title>Please log in</title>"
        expected = "perhaps a web page; what came was deleted"
    assert download(hub, tmp_path / "llase") == 1
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "llase").exists()
    cache = tmp_path / "official_files"
    assert not list(cache.rglob("*.part"))
    assert not list(cache.rglob("best.pt.tar"))


def test_not_found(hub, tmp_path, capsys):
    """404 names the address."""
    del hub.files[LM]
    assert download(hub, tmp_path / "llase") == 1
    error = capsys.readouterr().err
    assert f"{hub.endpoint}{LM} is not there (HTTP 404)" in error
    assert not hub.gets()


def test_no_hub(hub, tmp_path, capsys):
    """A server that answers everything with a page has no ETag."""
    hub.etags = dict.fromkeys(hub.etags, "")
    assert download(hub, tmp_path / "llase") == 1
    assert "perhaps a log-in page" in capsys.readouterr().err


def test_offline(hub, tmp_path, capsys, monkeypatch):
    """Without network, the reason is said; nothing is written."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert download(hub, tmp_path / "llase") == 1
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    hub.shutdown()
    hub.server_close()
    assert download(hub, tmp_path / "llase") == 1
    assert "cannot be fetched" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["n", "", None])
def test_licences_are_asked_for(hub, tmp_path, capsys, monkeypatch, answer):
    """No, nothing, or nobody to ask: no file is fetched."""
    monkeypatch.setattr("sys.stdin", Keyboard(answer is not None))
    monkeypatch.setattr("builtins.input", lambda _: answer)
    arguments = ["download", "llase", "--output", str(tmp_path / "llase")]
    assert main([*arguments, "--endpoint", hub.endpoint]) == 2
    assert "licences were not accepted" in capsys.readouterr().err
    assert not hub.gets()
    assert not list(tmp_path.iterdir())


def test_yes_is_taken(hub, tmp_path, monkeypatch):
    """A user who says yes is served."""
    monkeypatch.setattr("sys.stdin", Keyboard(True))
    monkeypatch.setattr("builtins.input", lambda _: "Yes")
    arguments = ["download", "llase", "--output", str(tmp_path / "llase")]
    assert main([*arguments, *HEADS, "--endpoint", hub.endpoint]) == 0


def test_existing_output_is_refused_before_fetching(hub, tmp_path, capsys):
    """Nothing is asked of the hub for a folder that cannot be written."""
    (tmp_path / "mine.txt").write_text("mine")
    assert download(hub, tmp_path) == 2
    assert "new or an empty" in capsys.readouterr().err
    assert not hub.log


def test_small_disk_is_refused(hub, tmp_path, monkeypatch):
    """Places on one disk are added up; the parts that are there are not."""
    cache, output = tmp_path / "cache", tmp_path / "models" / "llase"
    downloads = list(plan("llase", cache, hub.endpoint))
    total = sum(d.size for d in downloads)
    free = total + total // 2
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free - 2))
    with pytest.raises(OSError, match=r"Make room, or name other places"):
        check_space(downloads, cache, output, "bfloat16")
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free + 2))
    check_space(downloads, cache, output, "bfloat16")
    fetch(downloads[0])
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free - 2))
    check_space(
        list(plan("llase", cache, hub.endpoint)), cache, output, "bfloat16"
    )


class Usage:
    """What shutil.disk_usage tells."""

    def __init__(self, free: int):
        self.free = free


class Keyboard:
    """A standard input that is, or is not, a person's."""

    def __init__(self, there: bool):
        self.isatty = lambda: there
