"""Local runs in trouble: kills, failures and files of others."""

import errno
import json
import os
from pathlib import Path

import pytest
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

from speechbrain_llase.bulk import locking, manifest as manifests, storage
from speechbrain_llase.bulk.locking import Lock
from speechbrain_llase.bulk.manifest import Manifest
from speechbrain_llase.cli import parser as cli

STATE = Path("out/manifest.run.json")


@pytest.fixture
def made(tmp_path, monkeypatch):
    return make_inputs(tmp_path, monkeypatch)


@pytest.fixture
def whole(made):
    """The outputs of a run that nothing disturbed."""
    assert enhance(output="whole") == 0
    return contents("whole")


def dies(monkeypatch, owner, name, *options, at=1):
    """Kill a run before a function's n-th call; nothing is tidied up."""
    function = getattr(owner, name)
    calls = []

    def call(*args, **kwargs):
        calls.append(args)
        if len(calls) == at:
            raise Killed
        return function(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, call)
        patch.setattr(Path, "unlink", lambda *args, **kwargs: None)
        patch.setattr(Manifest, "close", lambda self: None)
        enhance(*options)
    release_locks()


# -- other processes ---------------------------------------------------------


def test_one_name_of_two_manifests(made, whole, monkeypatch, tmp_path):
    """Two machines, a path of a manifest on each, one folder of outputs."""
    place = tmp_path / "local"
    options = "--manifest", str(place / "m.jsonl"), "--shard"
    dies(monkeypatch, os, "replace", *options, "1/2", at=4)
    (partial,) = (p for p in Path("out").rglob("*") if ".partial" in p.name)
    place.rename("first machine")
    assert enhance(*options, "2/2") == 0
    assert partial.exists(), "it may be at work"
    place.rename("second machine")
    Path("first machine").rename(place)
    assert enhance(*options, "1/2") == 0
    assert contents() == whole


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(made, monkeypatch, capsys, code):
    def take(file):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locking, "take", take)
    assert enhance() == 2
    err = capsys.readouterr().err
    assert "file system of out has no locks" in err and "--manifest" in err
    assert "Another process" not in err and not made
    monkeypatch.setattr(locking, "take", lambda file: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Lock(Path("lock"))


@pytest.mark.parametrize("how", ["refused", "killed twice"])
def test_an_output_without_its_line_is_made_again(
    made, whole, monkeypatch, capsys, how
):
    """Killed between move and line, then not given back what it did."""
    Path("out").mkdir()
    Path("out/2").mkdir()
    Path("out/2/e.wav").write_text("mine")
    dies(monkeypatch, Manifest, "append", at=3)  # the first keeps that one
    assert len(records()) == 2
    assert len(set(NAMES) & set(contents())) == 3
    if how == "refused":
        assert enhance("--source", "other") == 2
        assert "model: 'llase_mini' there" in capsys.readouterr().err
    else:
        dies(monkeypatch, Manifest, "begin")
        dies(monkeypatch, Manifest, "plan")
    assert enhance() == 0
    assert len(made[-1].fed) == 3
    found = records()
    assert found.pop("2/e.wav").status == "kept"
    assert Path("out/2/e.wav").read_text() == "mine"
    assert {x.status for x in found.values()} == {"done"}
    assert {x.confidence for x in found.values()} == {-0.5}
    mine = {"2/e.wav": b"mine"}
    assert contents() == whole | mine


def test_another_plan_takes_nothing_for_its_own(made, monkeypatch):
    """An output without a line may be somebody's: it is kept."""
    dies(monkeypatch, Manifest, "append", at=3)
    (name,) = set(NAMES) & set(contents()) - set(records())
    Path("more").mkdir()
    Path("in/a.wav").rename("more/z.wav")
    assert enhance(inputs=["in", "more"]) == 0
    found = records()
    assert found.pop(name).status == "kept"
    assert {x.status for x in found.values()} == {"done"}
    Path("out/more.wav").write_text("mine")
    Path("more/z.wav").rename("more/more.wav")
    for _ in range(2):  # a finished run, and the same plan once more
        assert enhance(inputs=["more"]) == 0
        assert Path("out/more.wav").read_text() == "mine"


def test_a_kill_before_an_old_output_is_replaced(made, whole, monkeypatch):
    """The old one is not taken for new."""
    Path("out").mkdir()
    for name in NAMES:
        Path("out", name).parent.mkdir(exist_ok=True)
        Path("out", name).write_text("old")
    dies(monkeypatch, storage, "move_whole", "--overwrite", at=2)
    os.chdir("in")  # where paths begin does not matter
    try:
        assert enhance(output="../out", inputs=["../in"]) == 0
    finally:
        os.chdir("..")
    assert len(made[-1].fed) == 4 and contents() == whole


# -- overwriting -------------------------------------------------------------


def test_what_failed_to_be_overwritten_is_tried_again(made, whole):
    assert enhance() == 0
    good = Path("in/b.wav").read_bytes()
    Path("in/b.wav").write_bytes(b"RIFF")
    assert enhance("--overwrite") == 1
    assert enhance() == 1
    assert records()["b.wav"].status == "failed"
    Path("in/b.wav").write_bytes(good)
    assert enhance() == 0
    assert records()["b.wav"].status == "done" and contents() == whole


@pytest.mark.parametrize("at", range(1, 7))
def test_killed_at_the_beginning_of_overwriting(made, whole, monkeypatch, at):
    """All is made again, and no temporary file stays."""
    assert enhance() == 0
    for name in NAMES:
        Path("out", name).write_text("old")
    dies(monkeypatch, os, "replace", "--overwrite", at=at)
    if at == 1:  # nothing is known of it yet
        assert enhance("--overwrite") == 0
    assert enhance() == 0
    assert contents() == whole
    left = [p for p in Path("out").rglob("*") if ".partial" in p.name]
    assert not left and {x.status for x in records().values()} == {"done"}


@pytest.mark.parametrize(
    "text",
    [
        '{"audio_filepath": "in/a.wav"}\n',
        '{"audio_filepath": "in/a.wav"}',
        "in/a.wav",
        "RIFF",
    ],
)
@pytest.mark.parametrize("option", ["--overwrite", "--keep-others"])
def test_a_file_that_is_no_manifest_stays(made, capsys, text, option):
    MANIFEST.parent.mkdir()
    for path in (MANIFEST, Path("mine.txt")):
        path.write_text(text)
        options = ["--manifest", "mine.txt"] if path != MANIFEST else []
        assert enhance(option, *options) == 2
        assert "another --manifest" in capsys.readouterr().err
        assert path.read_text() == text
    assert sorted(os.listdir("out")) == ["manifest.jsonl"]


@pytest.mark.parametrize(
    "manifest", ["in/a.wav", "out/a.wav", "list.jsonl", "x.jsonl", "in/../l.x"]
)
def test_a_manifest_in_another_file_s_place(made, capsys, manifest):
    """An input, an output, a list, and what is written beside a manifest."""
    Path("list.jsonl").write_text('{"input": "in/a.wav"}')
    Path("x.run.json").write_text('{"1": {"wav": "in/a.wav"}}')
    inputs = ["list.jsonl", "x.run.json"]
    if manifest.endswith("l.x"):
        os.symlink("list.jsonl", "l.x")
    before = contents(".")
    assert enhance("--overwrite", "--manifest", manifest, inputs=inputs) == 2
    assert "would take the place" in capsys.readouterr().err
    assert contents(".") == before


# -- disks and folders -------------------------------------------------------


def test_a_disk_that_is_full_while_tidying(made, monkeypatch):
    """The manifest stays as it is, and the lock is let go."""
    Path("in/b.wav").write_bytes(b"RIFF")
    assert enhance() == 1
    close = Manifest.close

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    def close_full(self):
        with monkeypatch.context() as patch:
            patch.setattr(manifests, "write_whole_text", full)
            close(self)
        assert self.file is None

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "close", close_full)
        assert enhance() == 1
    assert not Path("out/.manifest.jsonl.lock").exists()
    assert len(MANIFEST.read_text().splitlines()) == len(NAMES) + 1
    assert enhance() == 1 and len(records()) == len(NAMES)


def test_a_finished_folder_that_is_moved_away(made, monkeypatch):
    extract = Copier.extract

    def move(self, wavs):
        if len(self.fed) == 4:
            Path("out/1").rename("away")
        return extract(self, wavs)

    with monkeypatch.context() as patch:
        patch.setattr(Copier, "extract", move)
        assert enhance() == 0
    assert len(records()) == len(NAMES) and Path("out/2/e.wav").exists()
    assert enhance() == 0 and len(made[-1].fed) == 2


# -- how far a run is --------------------------------------------------------


def test_a_run_that_was_killed_is_not_all_done(made, monkeypatch, capsys):
    dies(monkeypatch, Copier, "extract", at=3)
    assert cli.main(["manifest", "out"]) == 1
    out, err = capsys.readouterr()
    assert "2 done" in out
    assert "not finished, or still at work: out/manifest.jsonl (5" in err
    assert enhance() == 0
    assert cli.main(["manifest", "out"]) == 0
    assert enhance(inputs=["in/1"]) == 0
    run = STATE.read_bytes()
    assert enhance("--source", "other") == 2
    assert STATE.read_bytes() == run and json.loads(run)["finished"]
    dies(monkeypatch, Copier, "extract", "--overwrite")
    assert cli.main(["manifest", "out"]) == 1
