"""Extraction: the right tokens, once, in any number of runs."""

import json

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.dataio.audio_checks import check_entries
from speechbrain_llase.dataio.manifests import list_folder
from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.lobes.mel_codec import load_codec
from speechbrain_llase.processing.signal_processing import to_active_level
from speechbrain_llase.training.items import FileReader
from speechbrain_llase.training.token_cache import TokenCache, TokenWriter
from speechbrain_llase.training.token_extraction import (
    SpeechTokenizer,
    extract_tokens,
    open_tokens,
    parse_shard,
)

RATE = 16000
READ = FileReader(RATE, False)


@pytest.fixture(scope="module")
def tokenizer():
    """That of the packaged model."""
    return SpeechTokenizer("llase_mini", "cpu")


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """Seven recordings of other lengths."""
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for k in range(7):
        wav = 0.1 * rng.standard_normal(8000 + 700 * k)
        soundfile.write(folder / f"{k}.wav", wav, RATE)
    return check_entries(list_folder(folder), RATE, 0.0)


def run(entries, tokenizer, folder, **options):
    """Extract without a progress bar."""
    return extract_tokens(
        entries, READ, tokenizer, folder, progressbar=False, **options
    )


def test_tokens_are_the_codecs(entries, tokenizer, tmp_path):
    """Those that the codec of the folder gives."""
    result = run(entries, tokenizer, tmp_path)
    assert (result.made, result.known, result.bad) == (7, 0, [])
    assert result.audio_s == pytest.approx(4.41875)
    cache = TokenCache(tmp_path, tokenizer.tokenizer_id)
    codec = load_codec(str(resolve_source("llase_mini")))
    for entry in entries.values():
        recording = READ(entry)
        wav = to_active_level(recording.clean[None], -26)
        found = cache.find(recording.content, len(recording.clean))
        assert torch.equal(found, codec.encode(wav)[0])


def test_shards_share_and_runs_resume(entries, tokenizer, tmp_path):
    """Three processes do all of it, once; the next has nothing to do."""
    made = [
        run(entries, tokenizer, tmp_path, shard=(k, 3), flush_every=2).made
        for k in range(3)
    ]
    assert made == [3, 2, 2]
    again = run(entries, tokenizer, tmp_path)
    assert (again.made, again.known) == (0, 7)


def test_bad_recordings(entries, tokenizer, tmp_path, caplog):
    """Named once and left out; too many stop, what was made is kept."""
    short = tmp_path / "short.wav"
    soundfile.write(short, np.ones(300), RATE)
    more = entries | {"bad": {"clean_wav": str(short), "duration": 0.02}}
    result = run(more, tokenizer, tmp_path / "a", most_bad=0.2)
    assert result.made == 7 and caplog.text.count("bad: ") == 1
    with pytest.raises(ValueError, match="1 of 8 .* share of 0.0: bad: "):
        run(more, tokenizer, tmp_path / "b")
    assert len(TokenCache(tmp_path / "b")) == 7


def test_another_tokenizer(entries, tokenizer, tmp_path):
    """Tokens of two tokenizers never share a folder."""
    run(entries, tokenizer, tmp_path)
    (shard,) = tmp_path.iterdir()
    other = SpeechTokenizer("llase_mini", "cpu")
    other.tokenizer_id = "mel-other"
    with pytest.raises(ValueError, match="of its own"):
        run(entries, other, tmp_path)
    assert tokenizer.tokenizer_id.startswith("mel-26-")
    assert json.dumps(tokenizer.tokenizer_id)


def test_tokens_of_another_codec(tokenizer, tmp_path):
    """Those of the base's own codec are opened, unless others are named."""
    ours, other = tokenizer.tokenizer_id, "xcodec2-0123456789ab"
    for name in (ours, other):
        with TokenWriter(tmp_path / name, name) as writer:
            writer.add(b"speech", torch.arange(50))

    def opened(folder, base="llase_mini", given=None):
        return open_tokens(
            {
                "tokens_folder": tmp_path / folder,
                "base": str(base),
                "tokenizer_id": given,
            }
        ).tokenizer_id

    assert opened(ours) == ours
    with pytest.raises(ValueError, match=f"of {other}, wanted are .*{ours}"):
        opened(other)
    assert opened(other, given=other) == other
    with pytest.raises(ValueError, match="tokens_folder"):
        opened(ours, given=other)
    with pytest.raises(FileNotFoundError, match="give their tokenizer_id"):
        opened(ours, base=tmp_path)
    assert opened(ours, base=tmp_path, given=ours) == ours


def test_settings(monkeypatch, tmp_path):
    """Shards as text or torchrun's; folders without a tokenizer."""
    assert parse_shard(None) == (0, 1)
    assert parse_shard("3/4") == (3, 4)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert parse_shard(None) == (1, 2)
    for text in ("4/4", "1", "a/b", "-1/2"):
        with pytest.raises(ValueError, match="INDEX/COUNT"):
            parse_shard(text)
    with pytest.raises(FileNotFoundError, match="--w2v-bert"):
        SpeechTokenizer(str(tmp_path), "cpu")
