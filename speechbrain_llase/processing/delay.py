"""By how much one signal comes later than another: plain functions."""

from typing import Protocol

import torch

from speechbrain_llase.processing.signal_processing import fit_length

SPAN = 1 << 15  # samples correlated at a time; 2 s at 16 kHz
LONGEST = 9600  # samples; delays of 600 ms either way are looked for
CLEAR = 8.0  # how far a peak stands out; chance gives 4 to 5
WHITENING_SHARE = 1e-3  # of the mean magnitude; weaker bins count less


class Samples(Protocol):
    """A wave (T,), held in memory or put aside."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> torch.Tensor: ...


def find_delay(late: Samples, early: Samples) -> int | None:
    """Find a constant delay between two recordings of one sound.

    Generalised cross-correlation with phase transform (Knapp and Carter,
    IEEE TASSP 1976), of spectra summed over the whole signals, 2 s at a time:
    memory does not grow with length.

    Arguments
    ---------
    late, early : torch.Tensor or SampleSpool
        (T,) and (S,) at 16 kHz.

    Returns
    -------
    delay : int or None
        Samples by which `late` comes later, -9600 to 9600; None where no peak
        stands out, as between sounds that have nothing in common.

    Example
    -------
    >>> early = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    >>> find_delay(early.roll(800), early)
    800
    """
    total = torch.zeros(SPAN + 1, dtype=torch.complex64)
    for start in range(0, min(len(late), len(early)), SPAN):
        spectra = [
            torch.fft.rfft(
                fit_length(x[start : start + SPAN].float(), SPAN), 2 * SPAN
            ).cpu()
            for x in (late, early)
        ]
        total += spectra[0] * spectra[1].conj()
    size = total.abs()
    if not size.any():
        return None
    found = torch.fft.irfft(total / (size + WHITENING_SHARE * size.mean()))
    found = torch.cat((found[-LONGEST:], found[: LONGEST + 1])).abs()
    if found.max() < CLEAR * found.square().mean().sqrt():
        return None
    return int(found.argmax()) - LONGEST
