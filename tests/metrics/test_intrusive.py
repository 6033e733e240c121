"""Measures against the clean wave, level and words: against other code."""

import io

import numpy as np
import pytest
import torch
from speechbrain.nnet.loss.si_snr_loss import si_snr_loss
from speechbrain.utils.metric_stats import ErrorRateStats, MetricStats

from speechbrain_llase.metrics import (
    ESTOI,
    PESQ,
    SISDR,
    SpeechStats,
    WordDifference,
    WordEdits,
    check_level,
    normalise_words,
)
from speechbrain_llase.metrics.word_edits import count_edits

RATE = 16000


def build(measure):
    """Build a measure, or skip and say which package is missing."""
    try:
        return measure()
    except ImportError as err:
        pytest.skip(str(err))


@pytest.fixture(scope="module")
def pair():
    """A modulated tone complex of 2 s and the same with noise."""
    rng = np.random.default_rng(0)
    time = np.arange(2 * RATE) / RATE
    clean = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 25))
    clean *= np.clip(np.sin(2 * np.pi * 3 * time), 0, 1) / 5
    noisy = clean + rng.normal(0, 0.02, clean.size)
    return noisy.astype("f4"), clean.astype("f4")


def test_pesq_is_what_the_package_gives(pair):
    noisy, clean = pair
    measure = build(PESQ)
    package = pytest.importorskip("pesq")
    expected = package.pesq(RATE, clean, noisy, "wb")
    assert measure(noisy, clean) == pytest.approx(expected, abs=1e-6)
    assert 1 < expected < 4 < measure(clean, clean)
    with pytest.raises(ValueError, match="1/4 of a second"):
        measure(noisy[:3000], clean[:3000])


def test_estoi_is_what_the_package_gives(pair):
    noisy, clean = pair
    measure = build(ESTOI)
    package = pytest.importorskip("pystoi")
    expected = package.stoi(clean, noisy, RATE, extended=True)
    assert measure(noisy, clean) == pytest.approx(expected, abs=1e-6)
    assert 0.01 < expected < 0.99
    assert measure(clean, clean) == pytest.approx(1)
    assert expected != pytest.approx(package.stoi(clean, noisy, RATE), abs=1e-3)
    for count in (100, 3000):
        with pytest.raises(ValueError, match="0.4 s of speech"):
            measure(noisy[:count], clean[:count])


def test_si_sdr_is_speechbrains(pair):
    noisy, clean = map(torch.from_numpy, pair)
    expected = -si_snr_loss(noisy[None], clean[None], torch.ones(1)).item()
    assert SISDR()(noisy, clean) == pytest.approx(expected, abs=1e-3)
    assert SISDR()(0.1 * noisy + 0.1, clean) == pytest.approx(
        SISDR()(noisy, clean), abs=1e-3
    )
    for wave in (clean, 0.5 * clean):
        with pytest.raises(ValueError, match="SI-SDR is infinite"):
            SISDR()(wave, clean)
    with pytest.raises(ValueError, match="constant"):
        SISDR()(torch.zeros_like(clean), clean)


@pytest.mark.parametrize("measure", [PESQ, ESTOI, SISDR])
def test_bad_pairs_are_refused(measure, pair):
    noisy, clean = pair
    measure = build(measure)
    with pytest.raises(ValueError, match="32000 samples and the clean one 9"):
        measure(noisy, clean[:9])
    with pytest.raises(ValueError, match="all zero: nothing to compare"):
        measure(noisy, 0 * clean)
    with pytest.raises(ValueError, match="beyond full scale"):
        measure(100 * noisy, clean)


def test_level_of_a_sine():
    wave = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    level = check_level(wave)
    assert level["level"] == pytest.approx(
        20 * np.log10(0.5 / 2**0.5), abs=0.01
    )
    assert level["clipped"] == 0
    paused = np.concatenate([wave, np.zeros(RATE)])
    assert check_level(paused)["level"] == pytest.approx(level["level"])
    wave[:1600] = 1.0
    assert check_level(wave)["clipped"] == pytest.approx(10)
    with pytest.raises(ValueError, match="has no level"):
        check_level(np.zeros(RATE))


def edit_distance(one, two):
    """Levenshtein distance by its recursion, row by row."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        above, row = row, [i]
        for j, b in enumerate(two, 1):
            row.append(min(row[-1] + 1, above[j] + 1, above[j - 1] + (a != b)))
    return row[-1]


def test_word_edits_are_those_of_others():
    rng = np.random.default_rng(0)
    total, stats = WordEdits(0, 0), ErrorRateStats()
    for k in range(30):
        one, two = (
            [f"w{w}" for w in rng.integers(0, 6, size)]
            for size in rng.integers(1, 12, 2)
        )
        distance = count_edits(one, two)
        assert distance == edit_distance(one, two)
        edits = WordDifference.compare(one, two)
        assert edits == WordEdits(min(distance, len(two)), len(two))
        total += WordEdits(distance, len(two))
        stats.append([str(k)], [one], [two])
    expected = stats.summarize("error_rate") / 100
    assert total.rate == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "text, words",
    [
        ("HELLO, World!", ["hello", "world"]),
        ("it\N{RIGHT SINGLE QUOTATION MARK}s", ["it's"]),
        ("well-known _x_ 3.5", ["well", "known", "x", "3", "5"]),
        ("Straße Übung", ["strasse", "übung"]),
        (
            "u\N{COMBINING DIAERESIS}ber",
            ["\N{LATIN SMALL LETTER U WITH DIAERESIS}ber"],
        ),
        (
            "\u0939\u093f\u0928\u094d\u0926\u0940 \u0967\u0968",
            ["\u0939\u093f\u0928\u094d\u0926\u0940", "\u0967\u0968"],
        ),
        (
            "\u2018ten\u2019 \u201cdogs\u201d, the dogs' 'tis",
            ["ten", "dogs", "the", "dogs", "tis"],
        ),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            ["\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"],
        ),
        (" \n", []),
    ],
)
def test_words_are_normalised(text, words):
    assert normalise_words(text) == words


def test_a_plain_metric_stats_takes_them(pair):
    noisy, clean = (torch.from_numpy(x)[None] for x in pair)
    stats = MetricStats(SISDR(), batch_eval=False)
    stats.append(["a"], predict=noisy, target=clean, lengths=torch.ones(1))
    expected = SISDR()(noisy[0], clean[0])
    assert stats.summarize("average") == pytest.approx(expected)


def test_speech_stats_of_several_figures():
    def two(wav):
        if not wav.any():
            raise ValueError("silent")
        return {"first": float(wav[0]), "samples": len(wav)}

    stats = SpeechStats(two)
    batch = torch.tensor([[1.0, 1, 1, 1], [2, 2, 2, 2], [0, 0, 0, 0]])
    stats.append(["a", "b", "c"], batch, lengths=torch.tensor([1.0, 0.5, 1]))
    assert stats.summarize("first")["average"] == 1.5
    assert stats.summarize("samples")["min_id"] == "b"
    assert stats.summarize("num_skipped") == 1
    assert stats.skipped == {"c": "silent"}
    file = io.StringIO()
    stats.write_stats(file)
    assert "skipped c: silent" in file.getvalue()
    stats.clear()
    with pytest.raises(ValueError, match="Nothing was scored"):
        stats.summarize()


def test_speech_stats_sum_word_edits():
    edits = {1.0: WordEdits(1, 2), 2.0: WordEdits(3, 10), 3.0: WordEdits(1, 0)}
    stats = SpeechStats(lambda wav, clean: edits[float(wav[0])])
    batch = torch.tensor([[1.0], [2.0], [3.0]])
    stats.append(["a", "b", "c"], batch, batch)
    summary = stats.summarize()
    assert summary["average"] == pytest.approx(5 / 12)
    assert summary["max_id"] == "a" and summary["max_score"] == 0.5
