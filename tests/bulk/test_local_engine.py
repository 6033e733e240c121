"""Local runs: resuming, other runs' manifests, shards, locks, lost disks."""

import errno
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile as sf
import torch
from copier import Copier
from local_runs import (
    MANIFEST,
    NAMES,
    Killed,
    contents,
    enhance,
    make_inputs,
    records,
    release_locks,
)

from speechbrain_llase.bulk.manifest import Manifest
from speechbrain_llase.bulk.output_folder import OutputFolder
from speechbrain_llase.bulk.records import Record, read_records
from speechbrain_llase.cli import parser as cli
from speechbrain_llase.dataio import audio_writer as audio


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Five files below in/; a model that copies and counts its windows."""
    return make_inputs(tmp_path, monkeypatch)


@pytest.fixture
def whole(made):
    """The outputs of a run that nothing disturbed."""
    assert enhance(output="whole") == 0
    return contents("whole")


# -- manifests ---------------------------------------------------------------


def test_a_line_for_each_file(made, whole):
    assert enhance() == 0
    assert contents() == whole and sorted(whole) == sorted(NAMES)
    found = records()
    assert sorted(found) == sorted(NAMES)
    for k, name in enumerate(NAMES):
        record = found[name]
        assert record.status == "done" and record.error is None
        assert record.input == os.path.abspath(Path("in", name))
        assert record.seconds == pytest.approx((3000 + 100 * k) / 16000)
        assert record.confidence == -0.5 and record.work_s > 0
        assert record.model == "llase_mini" and len(record.settings) == 12


def test_a_record_comes_back_as_it_was(tmp_path):
    record = Record("a", "ä\n", "done", warnings=("x", "y"), confidence=-1.5)
    (tmp_path / "m.jsonl").write_text(record.as_json() + "\n", "utf-8")
    assert list(read_records(tmp_path / "m.jsonl")) == [record]


def test_names_that_are_no_utf_8(made, capsys):
    name = os.fsdecode(b"\xffa\xe4.wav")
    try:
        Path("in/a.wav").rename(Path("in", name))
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert enhance() == 0
    assert records()[name].input == os.path.abspath(Path("in", name))
    assert enhance() == 0
    assert made[-1].fed == []


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_a_torn_last_line_is_made_again(made, whole, cut):
    assert enhance() == 0
    data = MANIFEST.read_bytes()
    MANIFEST.write_bytes(data[:-cut])
    last = json.loads(data.splitlines()[-1])["output"]
    Path("out", last).unlink()
    assert len(list(read_records(MANIFEST))) == len(NAMES) - 1
    assert enhance() == 0
    assert len(made[-1].fed) == 1
    assert set(records()) == set(NAMES) and contents() == whole


def test_a_manifest_of_nothing_but_a_torn_line(made, whole):
    MANIFEST.parent.mkdir()
    MANIFEST.write_text('{"input": "')
    assert enhance() == 0
    assert set(records()) == set(NAMES) and contents() == whole


@pytest.mark.parametrize(
    "line", ["no json", "[]", '{"input": "a"}', '{"status": "dozing"}']
)
def test_what_is_no_manifest_is_refused(made, capsys, line):
    MANIFEST.parent.mkdir()
    MANIFEST.write_text(line + "\n")
    assert enhance() == 2
    assert "manifest.jsonl, line 1, is no record" in capsys.readouterr().err
    assert MANIFEST.read_text() == line + "\n" and not contents()


def test_a_line_without_its_output_is_made_again(made, whole):
    assert enhance() == 0
    Path("out/1/c.wav").unlink()
    assert enhance() == 0
    assert len(made[-1].fed) == 1
    assert set(records()) == set(NAMES) and contents() == whole


def test_failed_files_are_tried_again(made, whole, capsys):
    good = Path("in/b.wav").read_bytes()
    Path("in/b.wav").write_bytes(b"RIFF")
    assert enhance() == 1
    assert records()["b.wav"].status == "failed"
    assert enhance() == 1 and len(list(read_records(MANIFEST))) == 5
    Path("in/b.wav").write_bytes(good)
    assert enhance() == 0
    assert records()["b.wav"].status == "done" and contents() == whole


def test_outputs_that_were_there_are_kept(made, whole):
    Path("out").mkdir()
    Path("out/b.wav").write_text("mine")
    assert enhance() == 0
    assert records()["b.wav"].status == "kept"
    assert records()["b.wav"].model is None
    assert Path("out/b.wav").read_text() == "mine"
    assert enhance("--overwrite") == 0
    assert records()["b.wav"].status == "done" and contents() == whole


def test_a_chosen_manifest(made):
    assert enhance("--manifest", "runs/first.jsonl") == 0
    assert set(records("runs/first.jsonl")) == set(NAMES)
    assert sorted(os.listdir("runs")) == ["first.jsonl", "first.run.json"]
    assert sorted(contents()) == sorted(NAMES)


# -- other runs --------------------------------------------------------------


@pytest.mark.parametrize(
    "options, difference",
    [
        (["--source", "other"], "model: 'llase_mini' there, 'other' now"),
        (["--precision", "bf16"], "precision: 'fp32' there, 'bf16' now"),
    ],
)
def test_another_run_is_refused_unless_told(made, capsys, options, difference):
    assert enhance(inputs=["in/a.wav", "in/b.wav"]) == 0
    before, manifest = contents(), MANIFEST.read_bytes()
    assert enhance(*options) == 2
    err = capsys.readouterr().err
    assert difference in err and "--keep-others" in err
    assert contents() == before and MANIFEST.read_bytes() == manifest
    first = records()["a.wav"].settings

    # a folder gives other names, so the two files stay
    assert enhance(*options, "--keep-others") == 0
    found = records()
    assert found["a.wav"].settings == first != found["2/e.wav"].settings
    assert enhance() == 2  # now two runs are in it
    assert enhance("--overwrite") == 0
    assert {x.settings for x in records().values()} == {first}


def test_a_manifest_without_its_description(made, capsys):
    assert enhance() == 0
    Path("out/manifest.run.json").unlink()
    assert enhance() == 0
    Path("out/manifest.run.json").unlink()
    assert enhance("--source", "other") == 2
    assert "are unknown" in capsys.readouterr().err
    Path("out/manifest.run.json").write_text("[]")
    assert enhance() == 2
    assert "does not describe a run" in capsys.readouterr().err


def test_an_output_of_another_input_is_refused(made, capsys):
    assert enhance() == 0
    Path("more").mkdir()
    Path("more/a.wav").write_bytes(Path("in/b.wav").read_bytes())
    assert enhance(inputs=["more"]) == 2
    err = capsys.readouterr().err
    assert "out/a.wav <- more/a.wav, not " in err and "in/a.wav" in err
    assert enhance("--keep-others", inputs=["more"]) == 0
    assert made[-1].fed == []
    Path("more/a.wav").rename("more/z.wav")
    assert enhance(inputs=["more"]) == 0
    assert set(records()) == {*NAMES, "z.wav"}


def test_an_overwriting_run_that_was_killed_goes_on(made, whole, monkeypatch):
    """Old outputs are not taken for its own."""
    assert enhance() == 0
    for name in NAMES:
        Path("out", name).write_text("old")
    extract = Copier.extract

    def dies(self, wavs):
        if len(self.fed) == 2:
            raise KeyError("killed")
        return extract(self, wavs)

    with monkeypatch.context() as patch, pytest.raises(KeyError):
        patch.setattr(Copier, "extract", dies)
        enhance("--overwrite")
    assert sum(x == b"old" for x in contents().values()) == 3
    assert enhance() == 0
    assert len(made[-1].fed) == 3 and contents() == whole
    assert {x.status for x in records().values()} == {"done"}
    # it has ended: what is there from now on is somebody's
    Path("in/f.wav").write_bytes(Path("in/a.wav").read_bytes())
    Path("out/f.wav").write_text("mine")
    assert enhance() == 0
    assert records()["f.wav"].status == "kept"


# -- kills at chosen points --------------------------------------------------


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_kill_around_the_moving_of_an_output(made, whole, monkeypatch, place):
    """Between note and move, and between move and line; see the slow test
    for kills anywhere."""
    replace = os.replace
    moves = []

    def dies(source, target):
        moves.append(target)
        if ".partial.wav" not in str(source) or len(moves) < 4:
            return replace(source, target)
        if place == "after":
            replace(source, target)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "replace", dies)
        patch.setattr(Path, "unlink", lambda *args, **kwargs: None)
        patch.setattr(Manifest, "close", lambda self: None)
        enhance()
    done = len(list(read_records(MANIFEST)))
    there = sum(Path("out", name).exists() for name in NAMES)
    assert there - done == (place == "after")
    partials = [p for p in Path("out").rglob("*") if ".partial" in p.name]
    assert len(partials) == (place == "before")
    release_locks()
    assert enhance() == 0
    assert len(made[-1].fed) == len(NAMES) - done
    assert contents() == whole
    assert {x.status for x in records().values()} == {"done"}


def test_only_our_own_temporary_files_are_removed(made, whole):
    assert enhance() == 0
    Path("out/1/c.wav").unlink()
    run = json.loads(Path("out/manifest.run.json").read_text())
    mark = OutputFolder("out", run["id"]).mark
    ours = Path(f"out/1/.llase-{mark}-7.partial.wav")
    others = [
        Path("out/1/.llase-00000000-7.partial.wav"),
        Path("out/.a.partial.wav"),
    ]
    for path in (ours, *others):
        path.write_text("x")
    assert enhance() == 0
    assert not ours.exists() and all(path.exists() for path in others)


# -- shards and locks --------------------------------------------------------


def test_shards_share_the_files(made, whole):
    seen = []
    for k in (3, 1, 2):
        assert enhance("--shard", f"{k}/3") == 0
        seen.append(set(records(Path(f"out/manifest-{k}of3.jsonl"))))
    assert sum(map(len, seen)) == len(NAMES) and set.union(*seen) == set(NAMES)
    assert max(map(len, seen)) - min(map(len, seen)) <= 1
    assert contents() == whole


def test_more_shards_than_files(made):
    assert enhance("--shard", "9/9") == 0
    assert not contents() and records(Path("out/manifest-9of9.jsonl")) == {}


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_a_shard_that_is_none(made, capsys, text):
    with pytest.raises(SystemExit) as info:
        enhance(f"--shard={text}")
    assert info.value.code == 2
    assert "is not I/N with I from 1 to N" in capsys.readouterr().err


def test_a_second_process_is_refused(made, tmp_path, capsys):
    """And is let in when the first one dies."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from speechbrain_llase.bulk.locking import Lock\n"
        "lock = Lock(Path('out/.manifest.jsonl.lock'))\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    Path("out").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"held\n"
        assert enhance() == 2
        err = capsys.readouterr().err
        assert f"Another process ({process.pid} on " in err
        assert not contents().keys() & set(NAMES)
        assert enhance("--shard", "1/2") == 0  # another shard may work
        process.kill()
    assert enhance() == 0
    assert records().keys() == set(NAMES)


# -- lost disks --------------------------------------------------------------


def test_a_full_disk_ends_the_run(made, whole, tmp_path, capsys, monkeypatch):
    """With a small file system where mounting is allowed, else pretended."""
    disk = tmp_path / "out"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24k", "none", str(disk)]
    try:
        is_real = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        is_real = False
    try:
        with monkeypatch.context() as patch:
            if not is_real:
                pretend_full(patch)
            assert enhance() == 3
        err = capsys.readouterr().err
        assert err.count("error: ") == 1 and "make room" in err
        done = contents()
        assert 0 < len(done) < len(NAMES)
        assert all(done[name] == whole[name] for name in done)
        assert {x.status for x in records().values()} == {"done"}
        assert set(records()) == set(done)
        if is_real:
            more = ["mount", "-o", "remount,size=999k", str(disk)]
            subprocess.run(more, check=True)
        assert enhance() == 0
        assert contents() == whole and set(records()) == set(NAMES)
        assert len(made[-1].fed) == len(NAMES) - len(done)
    finally:
        if is_real:
            subprocess.run(["umount", str(disk)], check=True)


def pretend_full(patch):
    """Let the third file meet a full disk."""
    write_blocks = audio.write_blocks
    count = []

    def full(*args):
        count.append(args)
        if len(count) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_blocks(*args)

    name = "speechbrain_llase.bulk.worker.write_blocks"
    patch.setattr(name, full)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
@pytest.mark.parametrize("room", [0, 100, 40000])
def test_the_system_s_reason_reaches_the_caller(tmp_path, name, room):
    """libsndfile itself would only say that there was an error."""

    class Full:
        def __init__(self, file):
            self.file = file
            self.seek, self.tell = file.seek, file.tell

        def write(self, data):
            if self.file.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

    class Place(type(tmp_path)):
        def open(self, *args, **kwargs):
            file = super().open(*args, **kwargs)
            full = Full(file)
            full.fileno = file.fileno
            return closing(full, file)

    @contextmanager
    def closing(full, file):
        with file:
            yield full

    noise = torch.rand(64000) - 0.5
    with pytest.raises(OSError, match="No space") as info:
        audio.write_blocks(Place(tmp_path / name), [noise, noise], 16000)
    assert info.value.errno == errno.ENOSPC
    audio.write_blocks(tmp_path / name, [noise, noise], 16000)
    assert sf.info(tmp_path / name).frames == 128000


def test_a_line_that_finds_no_room_is_not_lost(made, whole, monkeypatch):
    """The output is there already; the next run makes it again."""
    append = Manifest.append

    def full(self, *records):
        if len(self.lines) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, *records)

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "append", full)
        assert enhance() == 3
    assert len(records()) == 2
    assert len(set(NAMES) & set(contents())) == 3
    assert enhance() == 0
    assert len(made[-1].fed) == 3 and contents() == whole
    assert {x.status for x in records().values()} == {"done"}


@pytest.mark.parametrize("how", ["gone", "another"])
def test_an_output_folder_that_vanishes_ends_the_run(
    made, capsys, monkeypatch, how
):
    extract = Copier.extract

    def vanish(self, wavs):
        if len(self.fed) == 2:
            Path("out").rename("away")
            if how == "another":
                Path("out").mkdir()
        return extract(self, wavs)

    with monkeypatch.context() as patch:
        patch.setattr(Copier, "extract", vanish)
        assert enhance() == 3
    assert "is not there any more" in capsys.readouterr().err
    if how == "another":
        assert not contents()
        Path("out").rmdir()
    else:
        assert not Path("out").exists()
    Path("away").rename("out")
    assert enhance() == 0
    assert set(records()) == set(NAMES) and len(made[-1].fed) == 3


def test_a_folder_that_refuses_one_file_costs_no_other(made):
    Path("out").mkdir()
    Path("out/1").write_text("a file where a folder should be")
    assert enhance() == 1
    found = {name: x.status for name, x in records().items()}
    assert found == {
        "a.wav": "done",
        "b.wav": "done",
        "1/c.wav": "failed",
        "1/d.wav": "failed",
        "2/e.wav": "done",
    }


def test_a_device_that_fails_ends_the_run(made, capsys, monkeypatch):
    def fail(self, wavs):
        raise torch.AcceleratorError("CUDA error: illegal access")

    monkeypatch.setattr(Copier, "extract", fail)
    assert enhance() == 3
    assert "the device failed (CUDA error" in capsys.readouterr().err
    assert records() == {}


def test_a_manifest_that_cannot_be_written(made, capsys):
    Path("file").touch()
    assert enhance("--manifest", "file/m.jsonl") == 2
    assert "error: " in capsys.readouterr().err and not contents()
