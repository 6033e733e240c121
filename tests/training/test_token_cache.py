"""The cache of tokens: whole shards, right tokens or an error."""

import os
import pickle
import tempfile
from pathlib import Path

import pytest
import torch

from speechbrain_llase.processing.framing import num_rows
from speechbrain_llase.training.token_cache import (
    TokenCache,
    TokenWriter,
    content_key,
)

ID = "mel-0123"
NOBODY = 65534  # a user without rights


def tokens_of(k: int, num_samples: int = 16000) -> torch.Tensor:
    """Some tokens, other ones for every k, the highest among them."""
    generator = torch.Generator().manual_seed(k)
    tokens = torch.randint(65536, (num_rows(num_samples),), generator=generator)
    tokens[0] = 65535
    return tokens


def fill(folder, ids, **options):
    """Write some recordings."""
    with TokenWriter(folder, ID, **options) as writer:
        for k in ids:
            writer.add(b"%d" % k, tokens_of(k))


def test_round_trip_over_shards(tmp_path):
    """Every recording gives its own tokens, whatever the shard."""
    fill(tmp_path, range(0, 40), flush_every=7)
    fill(tmp_path, range(40, 60), flush_every=100)
    assert len(list(tmp_path.iterdir())) == 7
    cache = pickle.loads(pickle.dumps(TokenCache(tmp_path, ID)))
    assert len(cache) == 60 and cache.tokenizer_id == ID
    for k in reversed(range(60)):
        assert torch.equal(cache.find(b"%d" % k, 16000), tokens_of(k))
    assert b"60" not in cache and b"59" in cache


def test_keys_that_end_in_zero(tmp_path):
    """numpy drops zeros at the end of its byte strings; keys keep them."""
    k = next(k for k in range(9999) if content_key(b"%d" % k)[-1] == 0)
    fill(tmp_path, [k])
    assert torch.equal(
        TokenCache(tmp_path).find(b"%d" % k, 16000), tokens_of(k)
    )
    assert b"%d" % k in TokenWriter(tmp_path, ID)


def test_writer_knows_what_is_done(tmp_path):
    """After an interruption only the rest is wanting."""
    with pytest.raises(RuntimeError), TokenWriter(tmp_path, ID) as writer:
        writer.add(b"1", tokens_of(1))
        raise RuntimeError("stopped")
    (tmp_path / ".x.1.partial.safetensors").write_bytes(b"half a shard")
    again = TokenWriter(tmp_path, ID)
    assert b"1" in again and b"2" not in again
    assert len(TokenCache(tmp_path)) == 1


def test_changed_audio_has_no_tokens(tmp_path):
    """The key is the content: an edited file is not found."""
    fill(tmp_path, [1])
    with pytest.raises(KeyError, match="changed since"):
        TokenCache(tmp_path).find(b"1!", 16000)


def test_tokens_must_match_their_audio(tmp_path):
    """A length that cannot be is refused."""
    fill(tmp_path, [1])
    with pytest.raises(ValueError, match="16400 samples, 52 frames, but 50"):
        TokenCache(tmp_path).find(b"1", 16400)


def test_another_tokenizer_is_refused(tmp_path):
    """By the reader, by the writer and where two are mixed."""
    fill(tmp_path, [1])
    with pytest.raises(ValueError, match="tokens of mel-0123"):
        TokenCache(tmp_path, "other")
    with pytest.raises(ValueError, match="a folder of its own"):
        TokenWriter(tmp_path, "other")
    with TokenWriter(tmp_path / "b", "other") as writer:
        writer.add(b"2", tokens_of(2))
    (shard,) = (tmp_path / "b").iterdir()
    shard.rename(tmp_path / shard.name)
    with pytest.raises(ValueError, match="a folder of its own"):
        TokenCache(tmp_path)


def test_damaged_and_missing(tmp_path):
    """Errors name the file and the remedy."""
    with pytest.raises(FileNotFoundError, match="run extract_tokens.py"):
        TokenCache(tmp_path)
    fill(tmp_path, [1])
    (shard,) = tmp_path.iterdir()
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(ValueError, match="damaged"):
        TokenCache(tmp_path)
    with pytest.raises(ValueError, match="must lie in"):
        TokenWriter(tmp_path / "new", ID).add(b"1", torch.tensor([65536]))


@pytest.fixture
def locked_folder():
    """A folder that this process, for now of a plain user, cannot write."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        is_root = os.geteuid() == 0
        if is_root:  # who may write everywhere
            os.setresuid(NOBODY, NOBODY, 0)
        yield Path(folder)
        if is_root:
            os.setresuid(0, 0, 0)
        os.chmod(folder, 0o755)


def test_folder_without_permission(locked_folder):
    """Refused before any work, whether it is there or to be made."""
    with pytest.raises(PermissionError, match="cannot be written; name"):
        TokenWriter(locked_folder, ID)
    with pytest.raises(PermissionError, match="tokens"):
        TokenWriter(locked_folder / "tokens", ID)
