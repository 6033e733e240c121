"""Folders of any files: every way to a sound reads it alike, none is lost."""

import io
import re
import subprocess
import sys
import tarfile
from contextlib import nullcontext
from pathlib import Path

import local_runs
import media
import numpy as np
import odd_files
import pytest
import soundfile as sf
import torch
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
    name = "a.wav" if data.startswith(b"RIFF") else "a.mp3"
    (folder / name).write_bytes(data)
    if way == "file":
        return [f"given/{name}"]
    if way == "url":
        return [f"file://{folder.resolve()}/{name}"]
    if way == "memory":
        from speechbrain_llase.bulk import storage

        storage.write_bytes("memory://given/a.mp3", data)
        return ["memory://given/a.mp3"]
    if way == "list":
        Path("l.txt").write_text("given/a.mp3\n")
        return ["l.txt"]
    if way == "shard":
        with tarfile.open("s.tar", "w") as tar:
            tar.add(f"given/{name}", name)
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


def two_channels() -> tuple[np.ndarray, bytes]:
    """A loud and a faint channel, and a file of them."""
    wave = odd_files.noise(3, 16000, 2) * np.float32([1, 0.1])
    file = io.BytesIO()
    sf.write(file, wave, 16000, format="WAV")
    return wave, file.getvalue()


def results(way: str) -> io.BytesIO:
    """The audio that a run made, however it is packed."""
    if way == "shard":
        with tarfile.open("out/s.tar") as tar:
            return io.BytesIO(tar.extractfile("a.wav").read())
    if way == "table":
        import pyarrow.parquet as pq

        return io.BytesIO(pq.read_table("out/t.parquet")["audio"][0].as_py())
    return io.BytesIO(Path("out/a.wav").read_bytes())


@pytest.mark.parametrize("way", ["file", "shard", "table"])
def test_each_channel_in_its_own_right(way, models):
    """One file of as many channels, each at its own level."""
    wave, data = two_channels()
    inputs = put(data, way)
    assert (
        enhance("--channels", "each", "--batch-size", "3", inputs=inputs) == 0
    )
    made, rate = sf.read(results(way))
    assert made.shape == wave.shape and rate == 16000
    np.testing.assert_allclose(made, wave, atol=2e-3)
    (record,) = records().values()
    assert record.seconds == 3 and record.confidence == pytest.approx(-0.5)
    assert not record.warnings


@pytest.mark.parametrize("number", [1, 2])
def test_one_channel(number):
    wave, data = two_channels()
    assert enhance("--channels", str(number), inputs=put(data, "file")) == 0
    made = sf.read(results("file"))[0]
    np.testing.assert_allclose(made, wave[:, number - 1], atol=2e-3)
    assert (
        enhance("--channels", "each", inputs=["given"]) == 2
    )  # other settings


def test_a_channel_or_track_that_is_not_there():
    _, data = two_channels()
    assert enhance("--channels", "3", inputs=put(data, "file")) == 1
    (record,) = records().values()
    assert "has 2 channels; channel 3 is not there" in record.error
    with pytest.raises(SystemExit):
        enhance("--channels", "0", inputs=["given"])


def test_a_track_of_a_film():
    tracks = [odd_files.noise(2, 48000, 1, k).T * (1 + k) for k in range(2)]
    Path("f").mkdir()
    media.write_media("f/a.mkv", tracks, 48000, "flac", picture=True)
    assert enhance("--track", "2", inputs=["f"]) == 0
    second = sf.read(results("file"))[0].std()
    assert enhance("--overwrite", inputs=["f"]) == 0
    first = sf.read(results("file"))[0].std()
    assert second / first == pytest.approx(2, rel=0.05)


def test_each_channel_in_python(load_tiny, tmp_path):
    """As the channels alone; silence stays silent."""
    wave, _ = two_channels()
    wave[:, 1] = 0
    sf.write(tmp_path / "b.wav", wave, 16000, subtype="FLOAT")
    model = load_tiny(restore_level=True)
    alone = model.enhance_file(tmp_path / "b.wav", channels=1)
    both = model.enhance_file(
        tmp_path / "b.wav", tmp_path / "o.wav", channels="each"
    )
    assert both.shape == (48000, 2) and not both[:, 1].any()
    assert torch.equal(both[:, 0], alone)
    model.stream_file(tmp_path / "b.wav", tmp_path / "s.wav", channels="each")
    made = sf.read(tmp_path / "s.wav")[0]
    assert np.array_equal(made, sf.read(tmp_path / "o.wav")[0])
    with pytest.raises(ValueError, match="look at one channel"):
        model.enhance_file(tmp_path / "b.wav", None, True, channels="each")


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
        [sys.executable, script, folder, "2000"],
        capture_output=True,
        text=True,
        timeout=1800,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout
    tried, read, refused = map(
        int, re.findall(r"\d+(?= tried| read| refused)", done.stdout)
    )
    assert (tried, read + refused) == (2000, 2000)
    assert read > 500 and refused > 200
