"""Folders of any files: every way to a sound reads it alike, none is lost."""

import io
import subprocess
import sys
import tarfile
from contextlib import nullcontext
from pathlib import Path

import local_runs
import numpy as np
import odd_files
import pytest
import soundfile as sf
from local_runs import enhance, records

from speechbrain_llase.bulk.batcher import enhance_many
from speechbrain_llase.dataio import media_file


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """Work in an empty folder, with models that copy."""
    return local_runs.make_inputs(tmp_path, monkeypatch)


def cut_mp3() -> bytes:
    """30 s, cut in half."""
    file = io.BytesIO()
    sf.write(file, odd_files.noise(30, 16000), 16000, format="MP3")
    return file.getvalue()[: len(file.getvalue()) // 2]


def put(data: bytes, way: str) -> list[str]:
    """Put a file where one way of reading finds it: the command's inputs."""
    folder = Path("given")
    folder.mkdir()
    (folder / "a.mp3").write_bytes(data)
    if way == "file":
        return ["given/a.mp3"]
    if way == "url":
        return [f"file://{folder.resolve()}/a.mp3"]
    if way == "memory":
        from speechbrain_llase.bulk import storage

        storage.write_bytes("memory://given/a.mp3", data)
        return ["memory://given/a.mp3"]
    if way == "list":
        Path("l.txt").write_text("given/a.mp3\n")
        return ["l.txt"]
    if way == "shard":
        with tarfile.open("s.tar", "w") as tar:
            tar.add("given/a.mp3", "a.mp3")
        return ["s.tar"]
    if way == "table":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"audio": [data]}), "t.parquet")
        return ["t.parquet"]
    return ["given"]


@pytest.mark.parametrize(
    "way",
    ["file", "folder", "list", "url", "memory", "shard", "table"],
)
def test_a_file_that_was_cut_is_told_on_every_way(way, capsys):
    """In the manifest, too; no second is invented."""
    inputs = put(cut_mp3(), way)
    assert enhance(inputs=inputs) == 0
    (record,) = records().values()
    assert record.status == "done" and 14 < record.seconds < 16
    (told,) = [x for x in record.warnings if "its header counts 30" in x]
    assert "are there and were read" in told and told in capsys.readouterr().err


def test_a_file_that_is_reported_on_is_told_alike(load_tiny):
    """Where files are held whole, for --details and the guard."""
    (path,) = put(cut_mp3(), "file")
    (outcome,) = enhance_many(
        load_tiny(restore_level=True),
        [path],
        nullcontext,
        lambda outcome, blocks: None,
        watched=True,
    )
    assert not outcome.error and len(outcome.warnings) == 1
    assert "its header counts 30" in outcome.warnings[0]


def test_what_cannot_be_read_has_a_line(monkeypatch, capsys):
    """Sound and films fail by name; what is no audio is counted."""
    monkeypatch.setattr(media_file, "has_av", lambda: False)
    Path("x").mkdir()
    sf.write("x/a.wav", np.ones(1600) / 9, 16000)
    for name in ("b.m4a", "c.mp4", "notes.txt", "d.json"):
        Path("x", name).write_bytes(b"\0\0\0\x20ftypM4A nothing" * 9)
    assert enhance(inputs=["x"]) == 1
    told = capsys.readouterr()
    assert "2 files are not audio (.json: 1, .txt: 1)" in told.err
    found = records()
    assert {n: r.status for n, r in found.items()} == {
        "a.wav": "done",
        "b.wav": "failed",
        "c.wav": "failed",
    }
    assert 'pip install "speechbrain_llase[formats]"' in found["b.wav"].error
    assert found["b.wav"].error.startswith("cannot be read as audio: ")


@pytest.mark.slow
def test_300_files_of_every_kind(tmp_path):
    """No crash, no invented second, a line for each."""
    folder = tmp_path / "all"
    folder.mkdir()
    known = odd_files.write_plain(folder, 4.0)
    names = [*known, *odd_files.write_coded(folder, 4.0)]
    for name, data in {
        "empty.wav": b"",
        "text.mp3": b"no sound" * 999,
        "page.flac": b"<html>404",
        "notes.txt": b"read me",
    }.items():
        (folder / name).write_bytes(data)
    assert len(names) >= 300
    assert enhance(inputs=[str(folder)]) == 1
    found = {Path(r.input).name: r for r in records().values()}
    made = {*names, "empty.wav", "text.mp3", "page.flac"}
    assert found.keys() == made
    expected = {
        name: known.get(name) or odd_files.decoded_s(folder / name) or 0.0
        for name in made
    }
    for name, record in found.items():
        assert record.seconds <= expected[name] + 0.1, name
        assert (record.status == "done") == (expected[name] > 0), record
        assert bool(record.error) == (record.status == "failed")
    total = sum(expected.values())
    assert sum(r.seconds for r in found.values()) == pytest.approx(
        total, rel=1e-3
    )


@pytest.mark.slow
def test_2000_mutated_files(tmp_path):
    """A process of its own lives on, and nothing is longer than it was."""
    folder = tmp_path / "seeds"
    folder.mkdir()
    odd_files.write_plain(folder, 0.5)
    odd_files.write_coded(folder, 0.5)
    for path in folder.iterdir():
        if "-" in path.stem and not path.stem.endswith(("-1", "-2")):
            path.unlink()
    script = Path(odd_files.__file__).with_name("fuzz_reading.py")
    done = subprocess.run(
        [sys.executable, script, folder, "2000", "300"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout
    assert int(done.stdout.split()[0]) > 100
