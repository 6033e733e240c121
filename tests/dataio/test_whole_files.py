"""Files appear whole or not at all, and nothing is left beside them."""

import os
import secrets

import pytest
import torch

from speechbrain_llase.bulk.locking import Lock
from speechbrain_llase.bulk.manifest import Manifest
from speechbrain_llase.bulk.storage import new_file, uuid
from speechbrain_llase.dataio.audio_writer import write_whole
from speechbrain_llase.dataio.whole_files import no_link, whole_file

WORDS = "somebody's thesis"


def test_whole_file(tmp_path):
    """What was written takes the place; after an error the old file stays."""
    path = tmp_path / "report.json"
    with whole_file(path) as partial:
        partial.write_text("first", "utf-8")
        assert partial.suffix == ".json" and partial.name[0] == "."
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), whole_file(path) as partial:
        partial.write_text("half", "utf-8")
        raise ZeroDivisionError
    assert path.read_text("utf-8") == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def victim(tmp_path):
    """A file of somebody who shares the folder."""
    path = tmp_path / "elsewhere" / "thesis.txt"
    path.parent.mkdir()
    path.write_text(WORDS, "utf-8")
    return path


def test_a_link_planted_under_the_temporary_name(tmp_path, victim, monkeypatch):
    """Even where the name could be told, nothing goes through the link."""
    monkeypatch.setattr(secrets, "token_hex", lambda size: "7")
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=7))
    wav = torch.zeros(160)
    for name in (".a.7.partial.wav", ".llase-mark-7.partial.wav"):
        (tmp_path / name).symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "a.wav", [wav], 16000)
    with (
        pytest.raises(FileExistsError),
        new_file(str(tmp_path / "a.wav"), "mark"),
    ):
        pass
    assert victim.read_text("utf-8") == WORDS
    assert not (tmp_path / "a.wav").exists()


def test_the_temporary_name_cannot_be_told(tmp_path):
    names = set()
    for _ in range(3):
        with whole_file(tmp_path / "a.wav") as partial:
            names.add(partial.name)
            assert partial.stat().st_size == 0, "it is ours already"
    assert len(names) == 3 and not any(str(os.getpid()) in x for x in names)


def test_a_link_in_the_place_of_the_result(tmp_path, victim):
    """The link is replaced, its target stays."""
    place = tmp_path / "a.wav"
    place.symlink_to(victim)
    write_whole(place, [torch.zeros(160)], 16000)
    assert not place.is_symlink() and place.stat().st_size == 44 + 320
    assert victim.read_text("utf-8") == WORDS


@pytest.mark.parametrize("there", [True, False])
def test_links_planted_under_known_names(tmp_path, victim, there):
    """A lock and a manifest write through no link, whole or broken."""
    if not there:
        victim.unlink()
    lock = tmp_path / ".manifest.jsonl.lock"
    lock.symlink_to(victim)
    with pytest.raises(OSError, match="is a link"):
        Lock(lock)
    manifest = tmp_path / "manifest.jsonl"
    manifest.symlink_to(victim)
    lock.unlink()
    ledger = Manifest(manifest, str(tmp_path))
    with pytest.raises(ValueError, match="is a link"):
        ledger.begin(None, overwrite=True, others=True)
    with pytest.raises(OSError, match="is a link"):
        ledger.open()
    ledger.close()
    with pytest.raises(OSError, match="is a link"):
        open(manifest, "ab", opener=no_link)
    assert victim.exists() == there
    assert not there or victim.read_text("utf-8") == WORDS


def test_others_may_read_what_appears(tmp_path):
    """The system's mask for new files holds, as for any other program."""
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a.wav", [torch.zeros(160)], 16000)
    finally:
        os.umask(before)
    if os.name == "posix":
        assert (tmp_path / "a.wav").stat().st_mode & 0o777 == 0o644
