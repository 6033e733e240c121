"""SpeechBrain's DNS shards are read as they are."""

import io
import json
import tarfile

import pytest
import torch

from speechbrain_llase.training.dns_shards import (
    ShardReader,
    index_shards,
    load_shards,
    prepare_shards,
)

RATE = 16000


def add(archive, name, content):
    """Put one member into an archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def saved(tensor):
    """What WebDataset writes for a .pth member."""
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    return buffer.getvalue()


def write_shards(folder, shards=2, samples=3, seconds=0.5, language="read"):
    """Shards with the members of the stock recipe."""
    folder.mkdir(parents=True)
    torch.manual_seed(len(folder.name))
    waves, keys = {}, []
    for number in range(shards):
        with tarfile.open(folder / f"shard-{number:06d}.tar", "w") as archive:
            for k in range(samples):
                key = f"{language}_fileid_{number}_{k}"
                clean = 0.1 * torch.randn(int(seconds * RATE))
                noise = 0.1 * torch.randn(len(clean))
                for kind in ("noisy_file", "clean_file", "noise_file"):
                    add(archive, f"{key}.{kind}", b"book_001.wav")
                add(archive, f"{key}.clean_audio.pth", saved(clean))
                add(archive, f"{key}.noise_audio.pth", saved(noise))
                add(archive, f"{key}.noisy_audio.pth", saved(clean + noise))
                waves[key] = clean, clean + noise
                keys.append(key)
    meta = {
        "language_id": [language],
        "sample_keys_per_language": {language: keys},
        "num_data_samples": len(keys),
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    return waves


def test_every_sample_is_read(tmp_path):
    """In any order, over languages, the waves of each key."""
    waves = write_shards(tmp_path / "read_speech")
    waves |= write_shards(tmp_path / "german_speech", 1, 2, language="german")
    entries = index_shards(tmp_path, RATE)
    assert entries.keys() == waves.keys()
    assert {e["duration"] for e in entries.values()} == {0.5}
    contents = set()
    for key in reversed(entries):
        recording = ShardReader()(entries[key])
        assert torch.equal(recording.clean, waves[key][0])
        assert torch.equal(recording.noisy, waves[key][1])
        contents.add(recording.content)
    assert len(contents) == len(waves)
    assert ShardReader(with_noisy=False)(entries[key]).noisy is None


def test_missing_shards(tmp_path):
    """A gap in the numbers, too few samples, none at all."""
    with pytest.raises(FileNotFoundError, match="no shard-"):
        index_shards(tmp_path, RATE)
    write_shards(tmp_path / "read_speech", 4)
    (tmp_path / "read_speech/shard-000003.tar").unlink()
    with pytest.raises(FileNotFoundError, match="9 samples, .* counts 12"):
        index_shards(tmp_path, RATE)
    (tmp_path / "read_speech/shard-000001.tar").unlink()
    with pytest.raises(FileNotFoundError, match="missing are 1"):
        index_shards(tmp_path, RATE)


def test_bad_shards(tmp_path):
    """Damaged, incomplete or double."""
    write_shards(tmp_path / "a", 1)
    with tarfile.open(tmp_path / "a/shard-000001.tar", "w") as archive:
        add(archive, "k.noisy_audio.pth", b"")
    with pytest.raises(ValueError, match="without clean_audio.pth .* are k"):
        index_shards(tmp_path, RATE)
    shard = tmp_path / "a/shard-000001.tar"
    shard.write_bytes(b"no archive" * 100)
    with pytest.raises(ValueError, match="damaged"):
        index_shards(tmp_path, RATE)
    shard.write_bytes((tmp_path / "a/shard-000000.tar").read_bytes())
    with pytest.raises(ValueError, match="there twice"):
        index_shards(tmp_path, RATE)


def settings(tmp_path, **others):
    """What a recipe's YAML says."""
    return {
        "train_shards": tmp_path / "train",
        "valid_shards": tmp_path / "valid",
        "manifest_folder": tmp_path / "lists",
        "sample_rate": RATE,
        "most_bad": 0.4,
        "skip_prep": False,
    } | others


def test_bad_samples_are_left_out(tmp_path, caplog):
    """Named once and counted, in both parts; the others can be read."""
    write_shards(tmp_path / "train")
    write_shards(tmp_path / "valid", 1)
    good = saved(torch.randn(8000))
    bad = {
        "nan": (good, saved(torch.full((8000,), float("nan")))),
        "uneven": (good, saved(torch.randn(7000))),
        "short": (saved(torch.randn(100)), saved(torch.randn(100))),
        "none": (b"", good),
    }
    with tarfile.open(tmp_path / "train/shard-000002.tar", "w") as archive:
        for key, members in bad.items():
            for kind, content in zip(("clean", "noisy"), members, strict=True):
                add(archive, f"{key}.{kind}_audio.pth", content)
    prepare_shards(settings(tmp_path))
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.startswith("4 of 10 entries")
    assert all(f"{key}: " in line for key in bad)
    entries = load_shards(tmp_path / "lists", "train")
    assert len(entries) == 6 and not entries.keys() & bad.keys()
    assert all(
        ShardReader()(e).noisy.isfinite().all() for e in entries.values()
    )
    assert len(load_shards(tmp_path / "lists", "valid")) == 3
    with pytest.raises(ValueError, match="4 of 10 .* share of 0.1"):
        prepare_shards(settings(tmp_path, most_bad=0.1))


def test_lists_that_are_there(tmp_path):
    """skip_prep leaves them alone, and says where they are not."""
    with pytest.raises(FileNotFoundError, match="has no train_shards.json"):
        prepare_shards(settings(tmp_path, skip_prep=True))
    write_shards(tmp_path / "train", 1)
    write_shards(tmp_path / "valid", 1)
    prepare_shards(settings(tmp_path))
    (tmp_path / "train/shard-000000.tar").unlink()
    prepare_shards(settings(tmp_path, skip_prep=True))
    assert len(load_shards(tmp_path / "lists", "train")) == 3
