"""What goes wrong in runs over URLs, shards and tables."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from remote_runs import encode, leftovers, lines, manifest_of, write_inputs

from speechbrain_llase.bulk import storage
from speechbrain_llase.bulk.manifest import Manifest
from speechbrain_llase.bulk.output_folder import OutputFolder
from speechbrain_llase.bulk.worker import Worker

pytest.importorskip("pyarrow")


def test_a_lost_server(enhance, hdfs, tmp_path, monkeypatch, capsys):
    """A file that cannot be written fails alone, in one line."""
    write_inputs(f"{hdfs}/in", 3)
    upload = storage.upload

    def fail(path: Path, place: str, mark: str = "") -> None:
        if place.endswith("a1.wav"):
            raise OSError(f"{place}: the server is gone")
        upload(path, place, mark)

    monkeypatch.setattr(storage, "upload", fail)
    arguments = f"{hdfs}/in/day*/a*.wav", "--output", f"{hdfs}/out"
    assert enhance(*arguments) == 1
    known = lines(manifest_of(f"{hdfs}/out"))
    assert known["day1/a1.wav"].error.endswith("the server is gone")
    assert sum(record.status == "done" for record in known.values()) == 2
    monkeypatch.undo()
    os.chdir(tmp_path)
    assert enhance(*arguments) == 0


def test_temporary_files_elsewhere(enhance, hdfs, tmp_path):
    """Those of a killed run go when it is given again, others' stay."""
    storage.write_bytes(f"{hdfs}/a.wav", encode(4000, 0))
    output = f"{hdfs}/out"
    assert enhance(f"{hdfs}/a.wav", "--output", output) == 0
    about = manifest_of(output).with_suffix(".run.json").read_text()
    ours = OutputFolder("memory://none", json.loads(about)["id"]).mark
    for mark in (ours, "another"):
        name = f"day1/.llase-{mark}-1.partial.wav"
        storage.write_bytes(f"{output}/{name}", b"half")
    assert enhance(f"{hdfs}/a.wav", "--output", output) == 0
    assert leftovers(output) == ["/out/day1/.llase-another-1.partial.wav"]


def test_failed_after_overwrite(enhance, tmp_path):
    """It is tried again, though the older result is there."""
    top = f"file://{tmp_path}"
    storage.write_bytes(f"{top}/in/a.wav", encode(4000, 0))
    arguments = f"{top}/in", "--output", f"{top}/out"
    assert enhance(*arguments) == 0
    storage.write_bytes(f"{top}/in/a.wav", b"RIFF is not enough")
    assert enhance(*arguments, "--overwrite") == 1
    assert enhance(*arguments) == 1
    storage.write_bytes(f"{top}/in/a.wav", encode(8000, 0))
    assert enhance(*arguments) == 0
    (record,) = lines(tmp_path / "out/manifest.jsonl").values()
    assert (record.status, record.seconds) == ("done", 0.5)


@pytest.mark.parametrize("kind", ["files", "shards"])
def test_a_lost_folder(enhance, tmp_path, monkeypatch, capsys, kind):
    """The run stops; nothing is made in the folder's place."""
    write_inputs(f"{tmp_path}/in", 3)
    for k in (1, 2):
        shutil.copy("in/shards/0.tar", f"in/shards/{k}.tar")
    method = "describe" if kind == "files" else "enhance_inside"
    write = getattr(Worker, method)

    def write_and_lose(*args):
        written = write(*args)
        if os.path.exists("out"):
            os.rename("out", "away")
        return written

    monkeypatch.setattr(Worker, method, write_and_lose)
    given = "in/day?/a*.wav" if kind == "files" else "in/shards"
    arguments = f"file://{tmp_path}/{given}", "--output", "out"
    assert enhance(*arguments) == 3
    assert "is not there any more" in capsys.readouterr().err
    assert not os.path.exists("out")
    monkeypatch.undo()
    os.chdir(tmp_path)
    os.rename("away", "out")
    assert enhance(*arguments) == (0 if kind == "files" else 1)
    assert (
        sum(
            r.status == "done"
            for r in lines(Path("out/manifest.jsonl")).values()
        )
        == 3
    )


def test_failed_recordings_stay_failed(enhance, tmp_path, capsys):
    """Those in a finished shard count until the shard is made again."""
    write_inputs(f"{tmp_path}/in", 0)
    for skipped in (0, 1):
        assert enhance("in/shards", "--output", "out") == 1
        told = capsys.readouterr()
        assert f"{skipped} skipped (output exists), 1 failed" in told.out
        assert "0.tar::u0.wav: it cannot be read as audio" in told.err
    shutil.copy("out/0.tar", "in/shards/0.tar")  # without the bad one
    os.unlink("out/0.tar")
    assert enhance("in/shards", "--output", "out") == 0
    assert len(lines(Path("out/manifest.jsonl"))) == 1


def test_a_run_that_cannot_go_on(enhance, tmp_path, monkeypatch, capsys):
    """Not 2, which says that nothing was begun."""
    write_inputs(f"{tmp_path}/in", 3)
    append = Manifest.append

    def fail(manifest, *records):
        if len(manifest.lines) == 2:
            raise OSError(errno.EIO, "a disk's error")
        append(manifest, *records)

    monkeypatch.setattr(Manifest, "append", fail)
    assert enhance(f"file://{tmp_path}/in", "--output", "out") == 3
    told = capsys.readouterr()
    assert "manifest.jsonl cannot be written (a disk's error)" in told.err
    assert "1 enhanced, 0 skipped (output exists), 1 failed" in told.out


def test_pipes_and_broken_links(enhance, tmp_path):
    """They fail alone, and do not block."""
    write_inputs(f"{tmp_path}/in", 1)
    os.mkfifo("in/shards/pipe.tar")
    os.symlink("nothing", "in/link.parquet")
    assert enhance("in", "--output", "out") == 1
    known = lines(Path("out/manifest.jsonl"))
    for name in ("shards/pipe.tar", "link.parquet"):
        assert known[name].error == "not a regular file, or a broken link"
