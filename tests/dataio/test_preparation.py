"""From recordings to lists: every source, held-out shares, what is missing."""

import csv
import json
import shutil
import zlib

import numpy as np
import pytest
import soundfile

from speechbrain_llase.dataio.manifests import read_manifest
from speechbrain_llase.dataio.preparation import (
    folder_sources,
    hold_out,
    load_manifest,
    prepare_manifests,
)

RATE = 16000


def write(path, seconds=0.2, rate=RATE, channels=1):
    """Write some noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(str(path).encode()))
    samples = 0.1 * rng.standard_normal((int(seconds * rate), channels))
    soundfile.write(path, samples, rate)


def settings(tmp_path, **others) -> dict:
    """What a recipe's YAML says."""
    return {
        "manifest_folder": str(tmp_path / "lists"),
        "sample_rate": RATE,
        "resample": False,
        "longest_s": 1.0,
        "most_bad": 0.0,
        "valid_share": 0.25,
        "skip_prep": False,
    } | others


def test_a_share_is_held_out(tmp_path):
    """By name, the same in every run; nothing is in both."""
    for k in range(8):
        write(tmp_path / f"clean/{k}.wav")
    for k in range(2):
        write(tmp_path / f"noise/{k}.wav", seconds=2)  # may be long
    hparams = settings(tmp_path)
    sources = folder_sources(tmp_path)
    found = []
    for _ in range(2):
        prepare_manifests(sources, hparams)
        names = ("train", "valid", "noise_train", "noise_valid", "rir")
        lists = {n: load_manifest(tmp_path / "lists", n) for n in names}
        found.append(lists)
    assert found[0] == found[1]
    assert [len(entries) for entries in lists.values()] == [6, 2, 1, 1, 0]
    assert not lists["train"].keys() & lists["valid"].keys()
    one = {"a": {}}
    assert hold_out(one, 0.1) == (one, one)
    assert [len(x) for x in hold_out({"a": {}, "b": {}}, 0.99)] == [1, 1]


def test_parts_of_its_own(tmp_path):
    """Folders train and valid are taken as they are, and rooms with them."""
    for name in ("clean/train/a", "clean/train/b", "clean/valid/c"):
        write(tmp_path / f"{name}.wav")
    for name in ("noise/train/n", "noise/valid/m", "rir/r"):
        write(tmp_path / f"{name}.wav")
    prepare_manifests(folder_sources(tmp_path), settings(tmp_path))
    found = {
        p.stem: len(load_manifest(p.parent, p.stem)) for p in lists(tmp_path)
    }
    assert found == {
        "train": 2,
        "valid": 1,
        "noise_train": 1,
        "noise_valid": 1,
        "rir": 1,
    }


def lists(tmp_path):
    """The lists that were written."""
    return (tmp_path / "lists").iterdir()


def test_pairs(tmp_path):
    """Clean and noisy speech of the same names; then no noise is listed."""
    for name in ("a", "b", "c", "d"):
        for kind in ("clean", "noisy"):
            write(tmp_path / f"{kind}/{name}.wav")
    write(tmp_path / "noise/n.wav")
    sources = folder_sources(tmp_path)
    assert sources["noise_train"] is None
    prepare_manifests(sources, settings(tmp_path))
    assert {p.name for p in lists(tmp_path)} == {"train.csv", "valid.csv"}
    train = load_manifest(tmp_path / "lists", "train")
    assert len(train) == 3
    for name, entry in train.items():
        assert entry["noisy_wav"] == str(tmp_path / f"noisy/{name}.wav")
    for part in ("train", "valid"):
        for kind in ("clean", "noisy"):
            write(tmp_path / f"parts/{kind}/{part}/{part}.wav")
    sources = folder_sources(tmp_path / "parts")
    prepare_manifests(sources, settings(tmp_path))
    valid = load_manifest(tmp_path / "lists", "valid")
    assert valid.keys() == {"valid"} and "noisy_wav" in valid["valid"]


def test_lists_with_a_root(tmp_path):
    """CSV and JSON, in which a root stands for the folder of the data."""
    for name in ("a", "b", "n"):
        write(tmp_path / f"data/{name}.wav")
    with open(tmp_path / "clean.csv", "w", newline="") as file:
        rows = [["ID", "wav"], ["a", "$data_root/a.wav"]]
        csv.writer(file).writerows([*rows, ["b", "$data_root/b.wav"]])
    noise = {"n": {"wav": "{data_root}/n.wav"}}
    (tmp_path / "noise.json").write_text(json.dumps(noise))
    sources = {
        "train": str(tmp_path / "clean.csv"),
        "valid": None,
        "noise_train": str(tmp_path / "noise.json"),
        "noise_valid": None,
        "rir": None,
    }
    hparams = settings(tmp_path)
    prepare_manifests(sources, hparams, str(tmp_path / "data"))
    train = load_manifest(tmp_path / "lists", "train")
    valid = load_manifest(tmp_path / "lists", "valid")
    files = {e["clean_wav"] for e in (train | valid).values()}
    assert files == {str(tmp_path / f"data/{name}.wav") for name in "ab"}
    noises = load_manifest(tmp_path / "lists", "noise_train")
    assert noises == load_manifest(tmp_path / "lists", "noise_valid")
    with pytest.raises(ValueError, match="no file elsewhere/a.wav"):
        prepare_manifests(sources, hparams, "elsewhere")


def test_other_rates(tmp_path):
    """Refused, or taken where they are to be resampled."""
    for kind in ("clean", "noise"):
        for k in range(2):
            write(tmp_path / f"{kind}/{k}.wav", rate=48000, channels=2)
    sources = folder_sources(tmp_path)
    with pytest.raises(ValueError, match="2 of 2 .*48000 Hz and 2 channel"):
        prepare_manifests(sources, settings(tmp_path))
    prepare_manifests(sources, settings(tmp_path, resample=True))
    (entry,) = load_manifest(tmp_path / "lists", "train").values()
    assert entry["duration"] == pytest.approx(0.2)


@pytest.mark.parametrize("name", ["valid", "dev", "test"])
def test_what_is_held_back_is_not_trained_on(tmp_path, name):
    """clean/{s1,s2,valid} without clean/train would be trained on as a whole."""
    for folder in ("s1", "s2", name):
        write(tmp_path / f"clean/{folder}/a.wav")
    write(tmp_path / "noise/n.wav")
    with pytest.raises(ValueError, match=f"a folder {name}, and no folder tra"):
        folder_sources(tmp_path)
    (tmp_path / "clean/train").mkdir()
    assert folder_sources(tmp_path)["train"] == str(tmp_path / "clean/train")


def test_one_of_a_pair_has_a_part(tmp_path):
    for folder in ("clean/train", "clean/valid", "noisy/train"):
        write(tmp_path / folder / "a.wav")
    with pytest.raises(ValueError, match="Only one of .*has a folder valid"):
        folder_sources(tmp_path)


@pytest.mark.parametrize("kind", ["clean", "noise"])
def test_a_recording_is_in_one_part_only(tmp_path, kind):
    """By what the files hold, whatever they are called."""
    for folder in ("clean", "noise"):
        for part in ("train", "valid"):
            write(tmp_path / f"{folder}/{part}/{part}.wav")
    prepare_manifests(folder_sources(tmp_path), settings(tmp_path))
    copy = tmp_path / kind / "valid/other.wav"
    shutil.copy(tmp_path / kind / "train/train.wav", copy)
    with pytest.raises(ValueError, match="train.wav and .*other.wav are the s"):
        prepare_manifests(folder_sources(tmp_path), settings(tmp_path))


def test_a_copy_is_not_held_out(tmp_path):
    """Two names of one recording, one of which is held out."""
    write(tmp_path / "clean/0.wav")
    shutil.copy(tmp_path / "clean/0.wav", tmp_path / "clean/1.wav")
    write(tmp_path / "noise/n.wav")
    with pytest.raises(ValueError, match="remove one of them"):
        prepare_manifests(folder_sources(tmp_path), settings(tmp_path))


def speakers(entries):
    """The first folder of every name."""
    return {name.split("/")[-2] for name in entries}


@pytest.mark.parametrize("top", ["", "corpus/train-clean/"])
def test_whole_speakers_are_held_out(top):
    """By the folders that not all share."""
    names = [f"{top}s{k}/{take}" for k in range(10) for take in range(k + 1)]
    train, valid = hold_out(dict.fromkeys(names, {}), 0.1)
    assert train.keys() | valid.keys() == set(names)
    assert not speakers(train) & speakers(valid)
    assert 0 < len(valid) <= 2 * round(0.1 * len(names))
    assert hold_out(dict.fromkeys(names, {}), 0.1) == (train, valid)


def test_a_column_names_speakers(tmp_path):
    rows = [f"{k},{k}.wav,s{k % 5}\n" for k in range(20)]
    text = "\ufeffID,wav,spk_id\n" + "".join(rows)  # with a byte-order mark
    (tmp_path / "list.csv").write_text(text, "utf-8")
    train, valid = hold_out(read_manifest(tmp_path / "list.csv"), 0.2)
    assert len(valid) == 4
    who = [{e["speaker"] for e in part.values()} for part in (train, valid)]
    assert who[0] | who[1] == {f"s{k}" for k in range(5)}
    assert not who[0] & who[1]


def test_two_speakers_are_too_few_to_hold_one_out(caplog):
    """Half of the data would be gone: names decide, and a line says so."""
    names = [f"s{k % 2}/{k}" for k in range(20)]
    train, valid = hold_out(dict.fromkeys(names, {}), 0.1)
    assert [len(train), len(valid)] == [18, 2]
    assert "Each of 2 speakers or folders is more" in caplog.text


def test_kinds_of_noise_are_in_both_parts():
    """Folders of noise are no speakers."""
    names = [f"k{k // 2}/{k}" for k in range(20)]
    train, valid = hold_out(dict.fromkeys(names, {}), 0.1, by_speaker=False)
    assert len(valid) == 2 and speakers(valid) <= speakers(train)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_json_with_a_byte_order_mark(tmp_path, mark):
    rows = json.dumps({"a": {"wav": "a.wav", "length": 2}})
    (tmp_path / "list.json").write_text(mark + rows, "utf-8")
    (tmp_path / "list.csv").write_text(mark + "ID,wav\na,a.wav\n", "utf-8")
    entry = {"clean_wav": "a.wav", "duration": 2.0}
    assert read_manifest(tmp_path / "list.json") == {"a": entry}
    assert read_manifest(tmp_path / "list.csv") == {"a": {"clean_wav": "a.wav"}}


def test_lists_that_are_there(tmp_path):
    """skip_prep leaves them alone, and says where they are not."""
    hparams = settings(tmp_path, skip_prep=True)
    with pytest.raises(FileNotFoundError, match="no train.csv and no valid.c"):
        prepare_manifests({}, hparams)
    for kind in ("clean", "noise"):
        write(tmp_path / f"{kind}/a.wav")
    sources = folder_sources(tmp_path)
    prepare_manifests(sources, settings(tmp_path))
    (tmp_path / "clean/a.wav").unlink()
    before = (tmp_path / "lists/train.csv").read_bytes()
    prepare_manifests(sources, hparams)
    assert (tmp_path / "lists/train.csv").read_bytes() == before


def test_folders_that_are_none(tmp_path):
    """What must be there is named; an empty folder of rooms is none."""
    with pytest.raises(FileNotFoundError, match="needs a folder clean"):
        folder_sources(tmp_path)
    (tmp_path / "clean").mkdir()
    with pytest.raises(FileNotFoundError, match="needs a folder clean"):
        folder_sources(tmp_path)
    (tmp_path / "noise").mkdir()
    (tmp_path / "rir").mkdir()
    assert folder_sources(tmp_path)["rir"] is None
    (tmp_path / "rir/README.txt").touch()
    assert folder_sources(tmp_path)["rir"] is None
    write(tmp_path / "rir/room/r.wav")
    assert folder_sources(tmp_path)["rir"] == str(tmp_path / "rir")


def test_long_speech_is_refused(tmp_path):
    """An hour in one file would give four seconds an epoch."""
    write(tmp_path / "clean/hour.wav", seconds=1.5)
    write(tmp_path / "clean/short.wav")
    write(tmp_path / "noise/n.wav", seconds=1.5)
    with pytest.raises(ValueError, match="hour.wav lasts 2 s, longer than"):
        prepare_manifests(folder_sources(tmp_path), settings(tmp_path))
