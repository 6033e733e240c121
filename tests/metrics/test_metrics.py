"""Measures: values in range, levels left alone, published scores met."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechbrain_llase.metrics import (
    DNSMOS,
    ESTOI,
    PESQ,
    SpeakerSimilarity,
    WordDifference,
    WordEdits,
    check_sha256,
)

RATE = 16000
SHARED_DNS = Path(__file__).parents[2].parent / "shared" / "data" / "dns"


def build(measure, *args):
    """Build a measure, or skip and say which package is missing."""
    try:
        return measure(*args)
    except ImportError as err:
        pytest.skip(str(err))


@pytest.fixture(scope="module")
def dnsmos():
    return build(DNSMOS, 1)


@pytest.fixture(scope="module")
def words():
    return build(WordDifference)


@pytest.fixture(scope="module")
def similarity():
    return build(SpeakerSimilarity)


def buzz(f0, seconds=3.0, seed=0):
    """A voiced-like buzz with moving formants and pauses, peak 0.5."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    wave = sum(
        np.sin(2 * np.pi * f0 * k * time + rng.uniform(0, 6)) / k
        for k in range(1, 30)
    )
    wave = wave * np.clip(np.sin(2 * np.pi * 2.5 * time), 0, 1)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def test_dnsmos_is_what_the_package_gives(dnsmos):
    package = pytest.importorskip("speechmos.dnsmos")
    wave = buzz(120, 4.0)
    expected = package.run(wave, RATE)
    names = {"SIG": "sig_mos", "BAK": "bak_mos", "OVRL": "ovrl_mos"}
    names["P808"] = "p808_mos"
    expected = {name: expected[theirs] for name, theirs in names.items()}
    assert dnsmos(wave) == pytest.approx(expected, abs=1e-4)


def test_speaker_similarity_is_what_the_package_gives(similarity):
    package = pytest.importorskip("resemblyzer")
    encoder = package.VoiceEncoder("cpu", verbose=False)
    low, high = (
        encoder.embed_utterance(package.preprocess_wav(buzz(f0)))
        for f0 in (90, 250)
    )
    expected = np.dot(low, high) / np.linalg.norm(low) / np.linalg.norm(high)
    found = similarity(buzz(90), buzz(250))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seconds", [0.01, 0.6, 9.5, 11.0])
def test_dnsmos_is_finite_and_in_range(dnsmos, seconds):
    scores = dnsmos(torch.from_numpy(buzz(120, seconds)))
    assert list(scores) == ["SIG", "BAK", "OVRL", "P808"]
    assert all(0.5 < score < 5.5 for score in scores.values())


def test_dnsmos_does_not_rescale(dnsmos):
    """Its scores depend on the level; a wave scaled within would hide it."""
    wave = buzz(120)
    loud, soft = dnsmos(wave), dnsmos(wave * np.float32(0.03))
    assert abs(loud["SIG"] - soft["SIG"]) > 0.01
    assert dnsmos(wave) == loud
    np.testing.assert_array_equal(wave, buzz(120))


def test_dnsmos_hears_noise(dnsmos):
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE)
    wave = buzz(120)
    noisy = (0.5 * wave + noise).astype(np.float32).clip(-1, 1)
    assert dnsmos(noisy)["BAK"] < dnsmos(wave)["BAK"] - 0.3


def test_dnsmos_of_silence_is_finite(dnsmos):
    assert all(np.isfinite(list(dnsmos(np.zeros(8000, "f4")).values())))


def test_number_of_threads_does_not_change_scores(dnsmos):
    assert dnsmos(buzz(90)) == pytest.approx(DNSMOS()(buzz(90)), abs=1e-4)
    with pytest.raises(ValueError, match="num_threads is 0"):
        DNSMOS(0)


def test_foreign_networks_are_refused(tmp_path):
    (tmp_path / "model_v8.onnx").write_bytes(b"other")
    with pytest.raises(ValueError, match="speechmos==0.0.1.1"):
        check_sha256(tmp_path / "model_v8.onnx", "0" * 64)


@pytest.mark.parametrize(
    "measure, package, line",
    [
        (DNSMOS, "speechmos.dnsmos", "speechmos==0.0.1.1"),
        (DNSMOS, "onnxruntime", "onnxruntime"),
        (WordDifference, "pocketsphinx", "pocketsphinx>=5"),
        (SpeakerSimilarity, "resemblyzer", "Resemblyzer==0.1.4"),
        (PESQ, "pesq", "pesq==0.0.4"),
        (ESTOI, "pystoi", "pystoi>=0.4"),
    ],
)
def test_missing_package_gives_the_pip_line(
    monkeypatch, measure, package, line
):
    if package == "speechmos.dnsmos":
        pytest.importorskip("onnxruntime")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"pip install .*{line}"):
        measure()


@pytest.mark.parametrize(
    "wave, rate, message",
    [
        (np.zeros(0, "f4"), RATE, "at least one sample"),
        (np.zeros((1, 800), "f4"), RATE, "1-D"),
        (np.zeros(800, "i2"), RATE, "int16"),
        (np.full(800, np.nan), RATE, "NaN"),
        (np.full(800, 1.1), RATE, "reaches 1.100"),
        (np.zeros(800, "f4"), 8000, "sample_rate is 8000"),
    ],
)
def test_bad_waves_are_refused(dnsmos, words, similarity, wave, rate, message):
    for measure in (dnsmos, words.read, similarity.embed):
        with pytest.raises(ValueError, match=message):
            measure(wave, rate)


def test_word_edits_add_up():
    one = WordDifference.compare("a b c".split(), "a x c d".split())
    assert one == WordEdits(2, 4)
    assert one + WordDifference.compare(["e"], []) == WordEdits(2, 4)
    assert one.rate == 0.5
    assert np.isnan(WordEdits(1, 0).rate)


def test_same_wave_has_no_word_edits(words):
    wave = buzz(120, 1.0)
    assert words(wave, wave).edits == 0
    assert words.read(wave) == words.read(torch.from_numpy(wave))


def test_speaker_similarity(similarity):
    low, high = buzz(90), buzz(250)
    assert similarity(low, low) == pytest.approx(1, abs=1e-5)
    assert similarity(low, high) < 0.95
    assert similarity.embed(torch.from_numpy(low)).shape == (256,)
    with pytest.raises(ValueError, match="silence has no voice"):
        similarity.embed(np.zeros(RATE, "f4"))


@pytest.fixture(scope="module")
def published():
    """scores.json and a function that reads one of its clips."""
    audio_io = pytest.importorskip("speechbrain.dataio.audio_io")

    def read(system, name):
        return audio_io.load(SHARED_DNS / system / f"{name}.flac")[0][0]

    return json.loads((SHARED_DNS / "scores.json").read_text()), read


@pytest.mark.shared
@pytest.mark.slow
def test_published_dnsmos_is_met(dnsmos, published):
    scores, read = published
    for system, clips in scores["scores"].items():
        names = [name for name in clips if name != "mean"]
        found = {n: list(dnsmos(read(system, n)).values()) for n in names}
        found["mean"] = list(np.mean(list(found.values()), axis=0))
        for name, expected in clips.items():
            assert found[name] == pytest.approx(expected, abs=0.01)


@pytest.mark.shared
@pytest.mark.slow
def test_published_words_and_speaker_are_met(words, similarity, published):
    scores, read = published
    names = [name for name in scores["scores"]["clean"] if name != "mean"]
    clean = {name: read("clean", name) for name in names}
    readings = {name: words.read(clean[name]) for name in names}
    assert sum(map(len, readings.values())) == 182
    for system, expected in scores["words_and_speaker"]["scores"].items():
        waves = {name: read(system, name) for name in names}
        edits = [
            words.compare(words.read(waves[n]), readings[n]) for n in names
        ]
        rate = sum(edits, WordEdits(0, 0)).rate
        assert rate == pytest.approx(expected["dwer"], abs=1e-4)
        cosines = [similarity(waves[n], clean[n]) for n in names]
        assert np.mean(cosines) == pytest.approx(
            expected["speaker_similarity"], abs=1e-3
        )
