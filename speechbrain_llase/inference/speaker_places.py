"""Separated speakers keep their places from one window to the next."""

import torch

from speechbrain_llase.inference.windows import Stitcher, Window
from speechbrain_llase.processing.framing import HOP_LENGTH
from speechbrain_llase.processing.signal_processing import stft_power


class PlaceKeeper:
    """Swap the speakers of a window where they have changed places.

    Two windows both cover what lies around their seam. There magnitudes, not
    samples, are correlated, for generated waves agree in no phase. Windows are
    passed in their order.

    Example
    -------
    >>> keeper, voices = PlaceKeeper(), torch.rand(9600, 2) ** 4
    >>> voices[::2, 0] = voices[::9, 1] = 0
    >>> first = keeper(voices, Window(0, 20, 0, 10))
    >>> both = voices[3200:].flip(1), Window(20, 30, 10, 0)
    >>> torch.equal(keeper(*both), voices[3200:])
    True
    """

    def __init__(self):
        self.before: tuple[torch.Tensor, Window] | None = None

    def __call__(self, voices: torch.Tensor, window: Window) -> torch.Tensor:
        """Give the voices (320 N, 2) of the next window in their places."""
        if self.before is not None:
            theirs, other = self.before
            start = window.start - window.left
            skipped = (start - other.start + other.left) * HOP_LENGTH
            lap = theirs[skipped:]
            if are_swapped(lap, voices[: len(lap)]):
                voices = voices.flip(1)
        self.before = voices, window
        return voices


def are_swapped(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Tell whether two speakers (T, 2) of one moment have changed places."""
    count = min(len(before), len(after))
    if not count:
        return False
    first, second = (
        torch.nn.functional.normalize(x - x.mean(1, keepdim=True))
        for x in (
            compressed_magnitudes(before[:count]),
            compressed_magnitudes(after[:count]),
        )
    )
    likeness = first @ second.T  # (2, 2)
    return bool(likeness.trace() < likeness.flip(1).trace())


def compressed_magnitudes(voices: torch.Tensor) -> torch.Tensor:
    """Compressed magnitudes (2, bins) of (T, 2)."""
    return torch.stack([stft_power(x).pow(0.25) for x in voices.unbind(1)])


class SpeakerStitcher:
    """A `Stitcher` for two speakers, who keep their places."""

    def __init__(self, hop_length: int, crossfade: int):
        self.keeper = PlaceKeeper()
        self.stitchers = [Stitcher(hop_length, crossfade) for _ in range(2)]

    def add(
        self, piece: torch.Tensor, window: Window, coming: int | None
    ) -> torch.Tensor:
        """Take the waves (320 N, 2) of a window; give (T, 2) that is final."""
        voices = self.keeper(piece, window).unbind(1)
        parts = zip(self.stitchers, voices, strict=True)
        return torch.stack([s.add(x, window, coming) for s, x in parts], 1)
