"""The guard: thresholds, windows, mixes, and decisions that are told."""

import pytest
import torch

from speechbrain_llase import metrics
from speechbrain_llase.inference.confidence import Details
from speechbrain_llase.inference.guard import (
    Decision,
    Guard,
    blend,
    split,
)
from speechbrain_llase.metrics.checks import within_scale
from speechbrain_llase.metrics.word_edits import word_share

RATE = 16000


def details(*entropies):
    """Frames with these entropies, 50 a second."""
    entropy = torch.tensor(entropies)
    zeros = torch.zeros(len(entropy))
    return Details(zeros.long(), entropy, zeros, zeros)


@pytest.fixture
def pair():
    """Two seconds of input and output that differ everywhere."""
    rng = torch.Generator().manual_seed(0)
    noisy, enhanced = 0.1 * torch.randn(2, 2 * RATE, generator=rng)
    return noisy, enhanced


@pytest.fixture
def models(monkeypatch):
    """Stand for recogniser and speaker model; tell what was asked."""
    asked = []

    class Voices:
        def __call__(self, wav, other):
            asked.append(("speaker", len(wav)))
            return float(wav.max())

    def read(wav, sample_rate=RATE):
        asked.append(("words", len(wav)))
        return "a b c d" if wav.max() > 0.5 else "a b x"

    monkeypatch.setattr(metrics, "load_speaker", lambda name: Voices())
    monkeypatch.setattr(metrics, "load_reader", lambda name: read)
    return asked


def test_nothing_watched_changes_nothing(pair):
    noisy, enhanced = pair
    guarded, (decision,) = Guard()(noisy, enhanced, details())
    assert torch.equal(guarded, enhanced)
    assert decision == Decision(0, 2 * RATE, 1.0)


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_mix_is_a_plain_control(pair, mix):
    noisy, enhanced = pair
    guard = Guard(mix=mix)
    guarded, _ = guard(noisy, enhanced, details())
    torch.testing.assert_close(guarded, mix * enhanced + (1 - mix) * noisy)


@pytest.mark.parametrize("harmed_mix", [0.0, 0.25])
def test_uncertain_output_is_held_back(pair, harmed_mix):
    noisy, enhanced = pair
    guard = Guard(max_entropy=3.0, harmed_mix=harmed_mix)
    guarded, (decision,) = guard(noisy, enhanced, details(2.0, 6.0))
    assert decision.reasons == ("entropy",) and decision.entropy == 4.0
    expected = harmed_mix * enhanced + (1 - harmed_mix) * noisy
    torch.testing.assert_close(guarded, expected)
    guarded, (decision,) = guard(noisy, enhanced, details(1.0, 4.0))
    assert decision.reasons == () and torch.equal(guarded, enhanced)


def test_speaker_and_words(pair, models):
    noisy, enhanced = pair
    loud = torch.cat([torch.tensor([0.9]), enhanced[1:]])
    guard = Guard(min_speaker=0.8, max_words=0.4)
    _, (decision,) = guard(noisy, enhanced, details())
    assert decision.reasons == ("speaker",) and decision.words == 0.0
    assert decision.speaker == pytest.approx(float(enhanced.max()))
    assert models == [("speaker", 32000), ("words", 32000), ("words", 32000)]
    _, (decision,) = guard(noisy, loud, details())
    assert decision.reasons == ("words",) and decision.words == 0.5
    _, (decision,) = Guard(max_words=0.5)(noisy, loud, details())
    assert decision.reasons == ()  # a threshold itself is allowed
    _, (decision,) = guard(noisy, 0 * enhanced, details())
    assert decision.speaker is None and decision.reasons == ()


def test_the_gain_of_an_opinion(pair, monkeypatch):
    noisy, enhanced = pair

    class DNSMOS:
        def __init__(self, num_threads):
            pass

        def __call__(self, wav):
            return {"OVRL": 10 * float(wav.max())}

    monkeypatch.setattr(metrics, "DNSMOS", DNSMOS)
    gain = 10 * float(enhanced.max() - noisy.max())
    for least, reasons in ((gain - 0.1, ()), (gain + 0.1, ("gain",))):
        guarded, (decision,) = Guard(min_gain=least)(noisy, enhanced, details())
        assert decision.reasons == reasons
        assert decision.gain == pytest.approx(gain, abs=1e-5)
        assert torch.equal(guarded, noisy if reasons else enhanced)


@pytest.mark.parametrize(
    "entropy, reasons", [(1.0, ("entropy",)), (3.0, ()), (9.0, ("entropy",))]
)
def test_entropy_on_both_sides(pair, entropy, reasons):
    guard = Guard(min_entropy=2.0, max_entropy=4.0)
    _, (decision,) = guard(*pair, details(entropy))
    assert decision.reasons == reasons


def test_windows_are_judged_one_by_one(pair):
    noisy, enhanced = pair
    guard = Guard(max_entropy=3.0, window_s=0.5, fade_s=0.02)
    frames = details(*[1.0] * 25, *[9.0] * 25, *[1.0] * 50)
    guarded, decisions = guard(noisy, enhanced, frames)
    assert [d.mix for d in decisions] == [1.0, 0.0, 1.0, 1.0]
    assert [d.start for d in decisions] == [0, 8000, 16000, 24000]
    assert [d.entropy for d in decisions] == [1.0, 9.0, 1.0, 1.0]
    assert torch.equal(guarded[:7840], enhanced[:7840])
    assert torch.equal(guarded[8160:15840], noisy[8160:15840])
    assert torch.equal(guarded[16160:], enhanced[16160:])


def test_the_border_of_two_windows_is_smooth():
    """Input 0 and output 1: the result is the share itself."""
    zeros, ones = torch.zeros(1000), torch.ones(1000)
    decisions = [Decision(0, 400, 1.0), Decision(400, 1000, 0.2)]
    share = blend(zeros, ones, decisions, fade=100)
    assert share[:350].eq(1).all() and share[450:].eq(0.2).all()
    assert share.diff().min() > -0.02 and share.diff().max() <= 0
    hard = blend(zeros, ones, decisions, fade=0)
    assert hard[399] == 1 and hard[400] == pytest.approx(0.2)


@pytest.mark.parametrize("num_samples", range(0, 60))
def test_windows_cover_every_file(num_samples):
    parts = split(num_samples, 10)
    assert [k for a, b in parts for k in range(a, b)] == list(
        range(num_samples)
    )
    assert all(5 <= b - a < 15 for a, b in parts[1:])


def test_empty_and_short_files():
    wav, decisions = Guard(max_entropy=1.0)(
        torch.zeros(0), torch.zeros(0), details()
    )
    assert wav.shape == (0,) and decisions == []
    wav, (decision,) = Guard(max_entropy=1.0)(
        torch.ones(5), torch.zeros(5), details()
    )
    assert decision.entropy is None and not wav.any()


def test_settings_out_of_range_are_refused():
    for wrong in ({"mix": 1.2}, {"harmed_mix": 0.6, "mix": 0.5}, {"mix": -1}):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
            Guard(**wrong)
    with pytest.raises(ValueError, match="above fade_s"):
        Guard(window_s=0.01)


def test_word_share_is_symmetric():
    one, two = "a b c".split(), "a c d e f".split()
    assert word_share(one, two) == word_share(two, one) == 4 / 5
    assert word_share(one, []) == 1 and word_share([], one) == 1


def test_waves_beyond_full_scale_are_measured(pair):
    wav = torch.tensor([2.0, -1.0])
    assert within_scale(wav).tolist() == [1.0, -0.5]
    assert within_scale(wav / 4).tolist() == [0.5, -0.25]
