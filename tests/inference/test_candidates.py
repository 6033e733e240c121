"""Sampling follows the posterior; the verifier keeps the best."""

import math

import numpy as np
import pytest
import torch

from speechbrain_llase import metrics
from speechbrain_llase.inference.candidates import Candidates, sample_tokens
from speechbrain_llase.inference.confidence import Details
from speechbrain_llase.nnet.fsq import VOCAB_SIZE, levels_to_tokens


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_samples_of_the_softmax_follow_it():
    logits = torch.full((20000, 200), -1e4)
    logits[:, 7], logits[:, 99] = math.log(3), 0.0  # 3 to 1
    wide = torch.nn.functional.pad(
        logits[:50], (0, VOCAB_SIZE - 200), value=-1e4
    )
    tokens = sample_tokens(wide, 1.0, 50, rng())
    assert set(tokens.tolist()) == {7, 99}
    share = (sample_tokens(logits, 1.0, 2, rng()) == 7).float().mean()
    assert share == pytest.approx(0.75, abs=0.015)
    share = (sample_tokens(logits, 0.5, 2, rng()) == 7).float().mean()
    assert share == pytest.approx(0.9, abs=0.015)  # 9 to 1
    assert (sample_tokens(logits, 1.0, 1, rng()) == 7).all()


def test_samples_of_digits_follow_them():
    logits = torch.tensor([2.0, 1.0, 0.0, -9.0]).repeat(5000, 8, 1)
    tokens = sample_tokens(logits, 1.0, 4, rng())
    expected = logits[0, 0].softmax(-1)
    for place in range(8):
        digits = tokens // 4**place % 4
        found = torch.bincount(digits, minlength=4) / len(digits)
        torch.testing.assert_close(found, expected, atol=0.025, rtol=0)
    digits = sample_tokens(logits, 1.0, 2, rng()) % 4
    assert set(digits.tolist()) == {0, 1}
    best = levels_to_tokens(logits.argmax(-1))
    assert torch.equal(sample_tokens(logits, 1.0, 1, rng()), best)
    assert torch.equal(sample_tokens(logits, 1e-3, 4, rng()), best)


def test_a_seed_draws_the_same():
    logits = torch.randn(50, 8, 4, generator=rng(1))
    one, two, other = (
        sample_tokens(logits, 1.0, 4, rng(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)


def details(log_prob):
    values = torch.full((3,), float(log_prob))
    return Details(values.long(), values, values, values)


@pytest.fixture
def models(monkeypatch):
    """Measures that read what is wanted from the wave's samples."""

    class DNSMOS:
        def __init__(self, num_threads):
            pass

        def __call__(self, wav):
            return {"OVRL": float(wav[0])}

    def read(wav, sample_rate=16000):
        return "a b c d" if wav[1] > 0 else "a b c"

    def voices(wav, other):
        if wav[2] < 0:
            raise ValueError("no voice")
        return float(wav[2])

    monkeypatch.setattr(metrics, "DNSMOS", DNSMOS)
    monkeypatch.setattr(metrics, "load_reader", lambda name: read)
    monkeypatch.setattr(metrics, "load_speaker", lambda name: voices)


def test_the_verifier_keeps_the_best(models):
    noisy = torch.tensor([0.0, 1.0, 0.0])
    waves = [
        torch.tensor([0.5, 1.0, 0.2]),
        torch.tensor([0.9, -1.0, 0.4]),
        torch.tensor([0.1, 1.0, -0.1]),
    ]
    given = noisy, waves, [details(x) for x in (-3, -5, -4)]

    def best(**weights):
        return Candidates(3, **{"dnsmos": 0.0, **weights}).choose(*given)

    assert best(dnsmos=1.0)[0] == 1
    assert best(confidence=1.0)[0] == 0
    assert best(words=1.0)[0] == 0  # the first of equals
    index, verdicts = best(dnsmos=1.0, words=2.0, speaker=1.0, confidence=0.1)
    expected = [0.5 + 2 + 0.2 - 0.3, 0.9 + 1.5 + 0.4 - 0.5, 0.1 + 2 + 0 - 0.4]
    found = [verdict.score for verdict in verdicts]
    assert found == pytest.approx(expected, abs=1e-5)
    assert index == int(np.argmax(expected))
    assert list(verdicts[0].terms) == [
        "confidence",
        "speaker",
        "dnsmos",
        "words",
    ]


def test_settings_out_of_range_are_refused():
    for wrong in ({"num_candidates": 0}, {"top_k": 0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match="at least 1 and temperature"):
            Candidates(**wrong)
    with pytest.raises(ValueError, match="All weights are 0"):
        Candidates(2, dnsmos=0.0)
