"""SpeechBrain's DNS shards are read as they are."""

import io
import json
import tarfile

import pytest
import torch

from speechbrain_llase.dns_shards import ShardReader, index_shards

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
