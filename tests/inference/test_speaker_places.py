"""Speakers keep their places over ten minutes, whatever a window says."""

import torch

from speechbrain_llase.inference.speaker_places import (
    PlaceKeeper,
    SpeakerStitcher,
    are_swapped,
)
from speechbrain_llase.inference.windows import plan_windows

ROWS = 10 * 60 * 50
HOP = 320


def two_voices(seed=0):
    """Ten minutes (T, 2) of noise in two bands, at times one alone."""
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(ROWS * HOP + 1, 2, generator=rng)
    low, high = noise[1:, 0] + noise[:-1, 0], noise[:, 1].diff()
    voices = torch.stack((low, high), 1)
    syllables = torch.rand(len(voices) // 3200 + 1, 2, generator=rng) ** 2
    syllables = syllables * (torch.rand(len(syllables), 2, generator=rng) > 0.3)
    loud = syllables.repeat_interleave(3200, 0)[: len(voices)]
    return voices * loud


def test_ten_minutes_with_swaps_forced():
    """Every other window in the wrong order, in other phases and levels."""
    voices = two_voices()
    plan = plan_windows(ROWS, 600, 50)
    rng = torch.Generator().manual_seed(3)
    forced = torch.rand(len(plan), generator=rng) < 0.5
    assert 10 < forced.sum() < len(plan) - 10
    stitcher, keeper = SpeakerStitcher(HOP, 640), PlaceKeeper()
    parts, kept = [], []
    for k, window in enumerate(plan):
        start = (window.start - window.left) * HOP
        piece = voices[start : (window.stop + window.right) * HOP]
        piece = piece * (1 - 2 * (k % 2)) * (0.5 + k % 3)
        piece = piece.flip(1) if forced[k] else piece
        last = window is plan[-1]
        coming = None if last else plan[k + 1].left
        parts.append(stitcher.add(piece, window, coming))
        kept.append(keeper(piece, window))
    joined = torch.cat(parts)
    assert joined.shape == voices.shape
    wanted = voices.flip(1) if forced[0] else voices
    for start in range(0, len(joined), 16000):
        both = joined[start : start + 16000], wanted[start : start + 16000]
        assert not are_swapped(*both)
    unkept = sum(bool(a != b) for a, b in zip(forced, forced[1:]))
    assert unkept > 10  # without the keeper these would have been heard


def test_nothing_is_swapped_in_silence():
    """Nor where windows share nothing, or a wave is shorter."""
    voices = two_voices(1)[:32000]
    assert not are_swapped(torch.zeros(32000, 2), voices)
    assert not are_swapped(voices[:0], voices)
    assert are_swapped(voices[:20000].flip(1), voices)
