"""Lists of recordings: every form reads alike, bad files are counted."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.dataio import manifests
from speechbrain_llase.dataio.audio_checks import check_entries
from speechbrain_llase.dataio.manifests import (
    list_folder,
    pair_folders,
    read_manifest,
    write_manifest,
)
from speechbrain_llase.dataio.recordings import (
    load_folder,
    read_piece,
    read_speech,
)

RATE = 16000


def write(path, seconds=0.5, rate=RATE, channels=1):
    """Write some noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    samples = 0.1 * rng.standard_normal((int(seconds * rate), channels))
    soundfile.write(path, samples, rate)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """Ten good files in folders."""
    for k in range(10):
        write(tmp_path / f"clean/speaker{k % 2}/take.{k}.wav")
    return tmp_path / "clean"


def test_forms_read_alike(folder, tmp_path):
    """Folder, CSV and JSON give the same entries."""
    entries = list_folder(folder)
    assert len(entries) == 10 and "speaker1/take.3" in entries
    checked = check_entries(entries, RATE, 0.0)
    assert {e["duration"] for e in checked.values()} == {0.5}
    write_manifest(checked, tmp_path / "list" / "train.csv")
    assert read_manifest(tmp_path / "list" / "train.csv") == checked
    relative = {
        name: {"wav": entry["clean_wav"].replace(str(folder), "{data_root}")}
        for name, entry in entries.items()
    }
    (tmp_path / "train.json").write_text(json.dumps(relative))
    assert read_manifest(tmp_path / "train.json", str(folder)) == entries
    assert read_manifest(folder) == entries


def test_pairs(folder, tmp_path, caplog):
    """By name; what stands alone is named and left out."""
    write(tmp_path / "noisy/speaker1/take.3.flac")
    write(tmp_path / "noisy/speaker1/alone.flac")
    pairs = pair_folders(folder, tmp_path / "noisy")
    assert list(pairs) == ["speaker1/take.3"]
    assert set(pairs["speaker1/take.3"]) == {"clean_wav", "noisy_wav"}
    assert "alone" in caplog.text
    write(tmp_path / "other/x.wav")
    with pytest.raises(ValueError, match="same name"):
        pair_folders(folder, tmp_path / "other")


def test_bad_files_are_listed_skipped_counted(
    folder, tmp_path, caplog, monkeypatch
):
    """Once each, and the good ones go on."""
    (folder / "broken.wav").write_bytes(b"RIFF but not really")
    (folder / "empty.wav").touch()
    soundfile.write(folder / "nothing.wav", np.zeros(0), RATE)
    write(folder / "fast.wav", rate=48000)
    write(folder / "stereo.wav", channels=2)
    wav = 0.1 * np.random.default_rng(0).standard_normal(40000)
    soundfile.write(folder / "cut.flac", wav, RATE)
    content = (folder / "cut.flac").read_bytes()
    (folder / "cut.flac").write_bytes(content[: len(content) // 2])
    soundfile.write(folder / "silent.wav", 0 * wav, RATE)
    wav[30000] = np.nan
    soundfile.write(folder / "nan.wav", wav, RATE, subtype="FLOAT")
    write(folder / "long.wav", seconds=3)
    entries = list_folder(folder)
    entries["gone"] = {"clean_wav": str(folder / "gone.wav")}
    noisy = write(tmp_path / "longer.wav", 0.6)
    entries["speaker0/take.0"]["noisy_wav"] = noisy
    good = check_entries(entries, RATE, 0.6, longest_s=2.9)
    assert len(good) == 9
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.startswith("11 of 20 entries cannot be used")
    assert line.endswith("and 1 more")
    caplog.clear()
    monkeypatch.setattr(manifests, "NAMES_SHOWN", 20)
    check_entries(entries, RATE, 0.6, longest_s=2.9)
    (line,) = [r.getMessage() for r in caplog.records]
    for word in (
        "broken.wav cannot be read",
        "empty.wav cannot be read",
        "nothing.wav has 0 samples",
        "48000 Hz",
        "2 channel(s)",
        "no file",
        "not equally long",
        "cut.flac cannot be read",
        "silent.wav is silent",
        "nan.wav has NaN",
        "long.wav lasts 3 s, longer than longest_s=2.9; cut it",
    ):
        assert line.count(word) == 1, word
    with pytest.raises(ValueError, match="10 of 20 .* share of 0.1"):
        check_entries(entries, RATE, 0.1)
    assert len(check_entries(entries, RATE, 0.5, resample=True)) == 12


def test_everything_bad_stops(folder):
    """However much is allowed, an empty list is none."""
    with pytest.raises(ValueError, match="10 of 10"):
        check_entries(list_folder(folder), 8000, 1.0)


def test_forms_that_are_none(tmp_path):
    """Errors name the file."""
    with pytest.raises(FileNotFoundError, match="There is no"):
        read_manifest(tmp_path / "missing.csv")
    with pytest.raises(FileNotFoundError, match="no audio below"):
        read_manifest(tmp_path)
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match="neither"):
        read_manifest(tmp_path / "a.txt")
    with open(tmp_path / "a.csv", "w") as file:
        csv.writer(file).writerows([["ID", "path"], ["a", "b"]])
    with pytest.raises(ValueError, match="'?a'? needs an ID and a file"):
        read_manifest(tmp_path / "a.csv")


def test_no_entry_is_lost(tmp_path):
    """What would be one entry is an error that names both files."""
    write(tmp_path / "both/a.wav")
    write(tmp_path / "both/a.flac")
    with pytest.raises(ValueError, match="a.flac and .*a.wav have the same"):
        list_folder(tmp_path / "both")
    rows = [["ID", "wav"], ["a", "one.wav"], ["a", "two.wav"]]
    with open(tmp_path / "a.csv", "w") as file:
        csv.writer(file).writerows(rows)
    text = '{"a": {"wav": "one.wav"}, "a": {"wav": "two.wav"}}'
    (tmp_path / "a.json").write_text(text)
    for ending in ("csv", "json"):
        with pytest.raises(ValueError, match="'a' is given to one.wav and to"):
            read_manifest(tmp_path / f"a.{ending}")


def test_reading(tmp_path):
    """One rate and one channel, or an error that names the file."""
    path = write(tmp_path / "a.wav", rate=48000, channels=2)
    with pytest.raises(ValueError, match="a.wav: .*48000 Hz and 2"):
        read_speech(path, RATE)
    content, wav = read_speech(path, RATE, resample=True)
    assert wav.shape == (8000,) and len(content) > 90000
    mono = write(tmp_path / "b.wav")
    samples, _ = soundfile.read(mono, dtype="float32")
    content, wav = read_speech(mono, RATE)
    assert np.array_equal(wav.numpy(), samples)
    samples[5] = np.nan
    soundfile.write(mono, samples, RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match="NaN"):
        read_speech(mono, RATE)
    (tmp_path / "c.wav").write_bytes(b"no audio")
    with pytest.raises(ValueError, match="c.wav"):
        read_speech(tmp_path / "c.wav", RATE)


def test_pieces(tmp_path):
    """Of the asked length, cut out of the file or repeated."""
    path = write(tmp_path / "a.wav")
    whole = read_speech(path, RATE)[1].numpy()
    rng = np.random.default_rng(0)
    for _ in range(5):
        piece = read_piece(path, 1000, RATE, False, rng)
        start = np.flatnonzero(whole == piece[0])
        assert any(np.array_equal(whole[s:][:1000], piece) for s in start)
    piece = read_piece(path, 20000, RATE, False, rng)
    assert np.array_equal(piece[:8000], piece[8000:16000])
    assert np.array_equal(np.sort(piece[:8000]), np.sort(whole))


def test_load_folder(tmp_path):
    """Whole folders in the order of their paths, at one rate."""
    for name, size in {"c.wav": 300, "b/a.flac": 100, "a.wav": 200}.items():
        write(tmp_path / name, size / RATE)
    (tmp_path / "notes.txt").write_text("not audio")
    waves = load_folder(tmp_path, RATE)
    assert [wave.shape for wave in waves] == [(200,), (100,), (300,)]
    assert all(wave.dtype == torch.float32 for wave in waves)
    with pytest.raises(ValueError, match="a.wav.*16000 Hz and 1 channel"):
        load_folder(tmp_path, 8000)
    write(tmp_path / "d.wav", channels=2)
    with pytest.raises(ValueError, match="d.wav.*2 channel"):
        load_folder(tmp_path, RATE)
    for empty in ("empty", "absent"):
        with pytest.raises(FileNotFoundError, match="no audio"):
            load_folder(tmp_path / empty, RATE)
