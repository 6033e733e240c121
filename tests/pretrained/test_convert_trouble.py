"""Conversion when something is wrong: the files, the disk, the process."""

import os
import pickle
import signal
from pathlib import Path

import forked
import pytest
import torch
from safetensors.torch import save_file

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.cli.parser import main
from speechbrain_llase.pretrained.convert import convert

HEADS = ["--lm-heads", "4", "--codec-heads", "2"]
NAMES = {
    "wavlm": "WavLM-Large.pt",
    "lm": "best.pt.tar",
    "codec": "xcodec2.ckpt",
}
KILLED = """
import os, signal, sys
from safetensors.torch import save_file
from speechbrain_llase.cli import parser as cli
from speechbrain_llase.pretrained import convert

def save_some(tensors, path, *rest):
    save_file(tensors, path, *rest)
    if "token_lm" in str(path):
        os.kill(os.getpid(), signal.SIGKILL)

convert.save_file = save_some
sys.exit(cli.main(sys.argv[1:]))
"""
SMALL_DISK = """
import resource, sys
from speechbrain_llase.cli import parser as cli
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
sys.exit(cli.main(sys.argv[1:]))
"""


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def arguments(files: Path, output: Path, **others: Path) -> list[str]:
    """The command, with other files in some places."""
    options = ["convert", "--output", str(output), *HEADS]
    for part, name in NAMES.items():
        options += [f"--{part}", str(others.get(part, files / name))]
    return options


@pytest.mark.parametrize("part", NAMES)
@pytest.mark.parametrize(
    "trouble", ["truncated", "page", "trap", "old trap", "other size", "empty"]
)
def test_bad_files(stand_in_files, tmp_path, capsys, part, trouble):
    """One line says why; no folder is left; no code of the file runs."""
    sprung, bad = tmp_path / "sprung", tmp_path / "bad"
    good = (stand_in_files / NAMES[part]).read_bytes()
    expected = "damaged"
    if trouble == "truncated":
        bad.write_bytes(good[: len(good) * 9 // 10])
    elif trouble == "page":
        bad.write_text("<!doctype html><title>Not found</title>")
        expected = "A web page saved in its place?"
    elif trouble == "trap":
        torch.save({"model": {"a": torch.zeros(1)}, "cfg": Trap(sprung)}, bad)
        expected = "it was not unpickled"
    elif trouble == "old trap":
        bad.write_bytes(pickle.dumps({"model": Trap(sprung)}, protocol=2))
        expected = "it was not unpickled"
    elif trouble == "other size":
        save_file({"a": torch.zeros(1)}, bad)
        expected = "The file is no "
    else:
        bad.touch()
        expected = "0 bytes"
    output = tmp_path / "model"
    assert main(arguments(stand_in_files, output, **{part: bad})) == 1
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1
    assert not sprung.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_the_trap_works(tmp_path):
    """Pickle itself would run it: the tests above can fail."""
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


def test_truncated_at_every_tenth(stand_in_files, tmp_path):
    """Wherever a download breaks off, it is noticed."""
    for name in ("xcodec2.ckpt", "w2v_bert.safetensors"):
        content = (stand_in_files / name).read_bytes()
        for tenth in range(10):
            cut = tmp_path / "cut"
            cut.write_bytes(content[: len(content) * tenth // 10])
            files = {k: stand_in_files / v for k, v in NAMES.items()}
            with pytest.raises(ValueError, match="damaged|begins with b''"):
                convert(
                    {**files, "codec": cut}, tmp_path / "x", "float32", 4, 2
                )


def test_full_disk(stand_in_files, tmp_path):
    """The system refuses to write more: exit code 1, a line, no folder."""
    run = forked.run(
        ["-c", SMALL_DISK, *arguments(stand_in_files, tmp_path / "model")]
    )
    assert run.returncode == 1, run.stderr
    assert "cannot be written" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())


def test_interrupted(stand_in_files, tmp_path, monkeypatch, capsys):
    """Ctrl-C leaves nothing at all."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(
        "speechbrain_llase.pretrained.convert.write_about", interrupt
    )
    assert main(arguments(stand_in_files, tmp_path / "model")) == 130
    assert not list(tmp_path.iterdir())


def test_killed(stand_in_files, tmp_path):
    """What a killed process leaves does not look like a model."""
    output = tmp_path / "model"
    run = forked.run(["-c", KILLED, *arguments(stand_in_files, output)])
    assert run.returncode == -signal.SIGKILL
    assert not output.exists()
    left = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.ckpt")]
    assert left and all(path.parts[0].startswith(".model.") for path in left)
    assert not list(tmp_path.rglob("hyperparams.yaml"))
    assert main(arguments(stand_in_files, output)) == 0
    EnhanceLLaSE.from_hparams(output)


@pytest.mark.skipif(not Path("/proc").exists(), reason="there is no /proc")
def test_place_that_nobody_can_write(stand_in_files, capsys):
    """Known before a file is read; not even the superuser may."""
    assert main(arguments(stand_in_files, Path("/proc/model"))) == 1
    assert "/proc" in capsys.readouterr().err


def test_file_in_place_of_a_folder(stand_in_files, tmp_path, capsys):
    """The output, or the folder above it, is a file: it stays as it is."""
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file" / "model"):
        assert main(arguments(stand_in_files, output)) == 2
        assert f"{tmp_path / 'file'} is" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_read_only_folder(stand_in_files, tmp_path, capsys):
    """The output's parent may not be written."""
    if os.geteuid() == 0:
        pytest.skip("the superuser may write anywhere; see the test above")
    tmp_path.chmod(0o500)
    try:
        assert main(arguments(stand_in_files, tmp_path / "model")) == 1
    finally:
        tmp_path.chmod(0o700)
    assert "Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize("there", [True, False])
def test_links(stand_in_files, tmp_path, there):
    """Linked files are read; a linked output is written where it points."""
    store, links = tmp_path / "store", tmp_path / "links"
    store.mkdir(), links.mkdir()
    if there:
        (store / "model").mkdir()
    (links / "model").symlink_to(store / "model")
    for name in NAMES.values():
        (links / name).symlink_to(stand_in_files / name)
    assert main(arguments(links, links / "model")) == 0
    assert (links / "model").is_symlink()
    assert not (store / "model").is_symlink()
    assert {path.name for path in store.iterdir()} == {"model"}
    assert not any(path.is_symlink() for path in (store / "model").iterdir())
    EnhanceLLaSE.from_hparams(links / "model")


def test_folder_that_may_only_be_read(stand_in_files, tmp_path, monkeypatch):
    """Loading writes nothing, beside the folder or in it."""
    output = tmp_path / "model"
    assert main(arguments(stand_in_files, output)) == 0
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    EnhanceLLaSE.from_hparams(output)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert after == before
