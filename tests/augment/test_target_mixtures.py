"""Mixtures with cleaner targets: in time, at one gain, without speech."""

import numpy as np
import pytest
import torch

from speechbrain_llase.augment.target_mixtures import (
    RecordedPairs,
    TargetSampler,
    cut,
)

RATE = 16000


def sampler(rirs=(), **settings) -> TargetSampler:
    """A voice and a noise, 0.5 s at a time."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4 * RATE, generator=generator)
    syllables = torch.sin(torch.arange(4 * RATE) / 800).clamp(min=0)
    clean = [0.1 * noise * syllables, 0.1 * (noise * syllables)[:5000]]
    return TargetSampler(clean, [noise.flip(0)], list(rirs), 0.5, **settings)


def test_targets_are_in_time():
    """A target is what it would be without noise, and as loud."""
    drawn = sampler(snr_db=(60, 60), rir_prob=0.0, silent_prob=0.0)
    for seed in range(6):
        pair = drawn.pair(np.random.default_rng(seed))
        assert pair.heard.shape == pair.target.shape == (8000,)
        error = (pair.heard - pair.target).norm() / pair.target.norm()
        assert error < 0.35
    again = drawn.pair(np.random.default_rng(5))
    assert torch.equal(again.heard, pair.heard)


def test_targets_are_as_loud_as_the_room():
    """A far talker in a hall is not to fade away."""
    tail = 0.1 * torch.randn(RATE, generator=torch.Generator().manual_seed(1))
    hall = torch.cat([torch.ones(1), tail * torch.linspace(1, 0, RATE)])
    settings = {"snr_db": (60, 60), "silent_prob": 0.0, "rir_prob": 1.0}
    drawn = sampler([hall], recorded_rir_prob=1.0, **settings)
    for seed in range(4):
        pair = drawn.pair(np.random.default_rng(seed))
        for wave in (pair.target, pair.recorded):
            assert 0.7 < wave.norm() / pair.heard.norm() < 1.4
        assert (pair.heard - pair.target).norm() > pair.target.norm()


def test_some_have_no_speech():
    """Then there is nothing to find, and still something to hear."""
    pair = sampler(silent_prob=1.0).pair(np.random.default_rng(0))
    assert not pair.target.any() and pair.heard.any()


def test_cut():
    """Shorter waves stand whole between zeros."""
    wave = np.ones(3, np.float32)
    assert cut(wave, -1, 6).tolist() == [0, 1, 1, 1, 0, 0]
    assert cut(wave, 1, 2).tolist() == [1, 1]


def test_refuses_shares():
    """Shares go from 0 to 1."""
    with pytest.raises(ValueError, match="from 0 to 1"):
        sampler(silent_prob=2)


def test_recorded_pairs_stay_together():
    """Noisy and clean are cut at one place; short ones stand between zeros."""
    rng = np.random.default_rng(5)
    tone = 0.1 * torch.sin(torch.arange(24000) * 0.2)
    wave = tone * torch.linspace(0.2, 1, 24000)
    drawn = RecordedPairs([(wave + 0, wave)], 0.5).pair(rng)
    assert drawn.heard.shape == drawn.target.shape == (8000,)
    torch.testing.assert_close(drawn.heard, drawn.recorded)
    assert drawn.clean.abs().max() > 0.01
    short = RecordedPairs([(wave[:4000], wave[:4000])], 0.5).pair(rng)
    assert short.clean.shape == (8000,) and (short.clean == 0).sum() >= 4000
