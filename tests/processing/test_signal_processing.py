"""Level: peak, active level, and the gain that restores it."""

import numpy as np
import pytest
import torch

from speechbrain_llase.augment.synthetic_noise import synthesise_noise
from speechbrain_llase.processing.signal_processing import (
    GainMatcher,
    active_level,
    fit_length,
    match_gain,
    to_active_level,
    to_peak,
)

RATE = 16000


@pytest.fixture
def clean() -> torch.Tensor:
    """Six seconds like speech: bursts of a gliding harmonic tone (96000,)."""
    time = torch.arange(6 * RATE) / RATE
    pitch = 120 + 30 * torch.sin(2 * torch.pi * 0.7 * time)
    phase = 2 * torch.pi * pitch.cumsum(0) / RATE
    tone = sum(torch.sin(k * phase) / k for k in range(1, 20))
    return 0.1 * tone * torch.sin(2 * torch.pi * 1.3 * time).clamp(min=0)


def shift_phases(wav: torch.Tensor) -> torch.Tensor:
    """Same magnitudes, other phases: no longer aligned with the input."""
    spectrum = torch.stft(
        wav, 512, 128, return_complex=True, window=torch.hann_window(512)
    )
    turn = torch.polar(torch.ones(257, 1), torch.linspace(0, 40, 257)[:, None])
    return torch.istft(
        spectrum * turn,
        512,
        128,
        length=len(wav),
        window=torch.hann_window(512),
    )


def test_to_peak():
    """The peak becomes 1, each item its own; silence stays."""
    wavs = torch.tensor([[0.1, -0.5], [0.0, 0.0], [3.0, 1.0]])
    assert to_peak(wavs).abs().amax(1).tolist() == [1, 0, 1]


def test_fit_length():
    """Longer is cut, shorter is filled with zeros."""
    assert fit_length(torch.ones(3), 5).tolist() == [1, 1, 1, 0, 0]
    assert fit_length(torch.ones(3), 2).tolist() == [1, 1]


def test_active_level_ignores_pauses(clean):
    """Silence added at the end does not lower the level."""
    level = active_level(clean)
    padded = torch.cat([clean, torch.zeros(10 * RATE)])
    assert float(active_level(padded)) == pytest.approx(float(level), rel=1e-3)
    scaled = to_active_level(clean, -26)
    assert float(active_level(scaled)) == pytest.approx(10 ** (-26 / 20))
    assert not to_active_level(torch.zeros(1, 640), -26).any()


@pytest.mark.parametrize("kind", ["white", "pink", "band", "hum", "clicks"])
@pytest.mark.parametrize("gain", [0.01, 1.0, 7.0])
def test_gain_within_1_db_at_10_db_snr(clean, kind, gain):
    """A perfect model of another level and phase comes back to level."""
    noise = synthesise_noise(kind, len(clean), RATE, np.random.default_rng(3))
    noise = torch.as_tensor(np.asarray(noise), dtype=torch.float32)
    ratio = clean.square().mean() / noise.square().mean() / 10
    noisy = clean + noise * ratio.sqrt()
    enhanced = gain * shift_phases(clean)
    restored = enhanced * match_gain(enhanced, noisy)
    error = 20 * torch.log10(active_level(restored) / active_level(clean))
    assert abs(float(error)) < 1


@pytest.mark.parametrize("offset", [0.0, 0.3])
@pytest.mark.parametrize("hertz", [3, 20, 40])
@pytest.mark.parametrize("left", [0.0, 0.5, 2.0])
def test_rumble_counts_in_no_gain(clean, offset, hertz, left):
    """However much of it a model leaves in its output."""
    time = torch.arange(len(clean)) / RATE
    low = offset + 0.3 * torch.sin(2 * torch.pi * hertz * time)
    enhanced = 0.5 * clean + left * low
    decibels = 20 * np.log10(match_gain(enhanced, clean + low) / 2)
    assert abs(decibels) < 0.2


def test_gain_without_rumble_is_that_of_all_bins(clean):
    """What most files get, models of older versions too, stays as it was."""
    noise = 0.01 * torch.randn(len(clean))
    matcher = GainMatcher()
    matcher.add(clean, clean + noise)
    other = GainMatcher()
    other.add(clean, clean + noise)
    other.powers[0] = 0
    assert matcher.gain() == other.gain()


def test_gain_scales_with_the_input(clean):
    """Ten times the input gives ten times the gain, in one gain a file."""
    once = match_gain(clean, clean + 0.01)
    assert match_gain(clean, 10 * (clean + 0.01)) == pytest.approx(10 * once)


def test_gain_does_not_depend_on_blocks(clean):
    """Over 16 s, blocks are summed: still the known gain."""
    long = clean.repeat(7)
    assert match_gain(long, 0.3 * long) == pytest.approx(0.3, rel=1e-3)


def test_silent_gives_gain_zero():
    """Nothing is divided by zero."""
    silent, wav = torch.zeros(3200), torch.ones(3200)
    assert match_gain(silent, wav) == 0
    assert match_gain(wav, silent) == 0
    assert match_gain(torch.zeros(0), torch.zeros(0)) == 0
