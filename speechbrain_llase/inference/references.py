"""What is heard beside a mixture: a loopback or an enrolment, by window.

A reference is called with the first and the last sample of a window, and
gives the wave that belongs to it, or None.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from speechbrain_llase.processing.delay import Samples
from speechbrain_llase.processing.framing import MIN_SAMPLES

Reference = Callable[[int, int], torch.Tensor | None]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is heard of a window: waves, or features (N, D)."""

    mixture: torch.Tensor
    reference: torch.Tensor | None = None
    first: torch.Tensor | None = None  # tokens of the first of two speakers

    def __len__(self) -> int:
        """Length of the mixture."""
        return len(self.mixture)


class AtPeak:
    """A wave (T,) divided by its peak, part by part, as `to_peak` has it whole.

    Example
    -------
    >>> AtPeak(torch.tensor([0.0, -0.5, 0.25]))[1:]
    tensor([-1.0000,  0.5000])
    """

    def __init__(self, wav: Samples):
        self.wav = wav
        spooled = getattr(wav, "peak", None)  # of a SampleSpool
        self.peak = float(wav.abs().max()) if spooled is None else spooled

    def __len__(self) -> int:
        return len(self.wav)

    def __getitem__(self, part: slice) -> torch.Tensor:
        return self.wav[part].float() / (self.peak or 1)


class Loopback:
    """What the loudspeaker plays, moving along with the microphone's windows.

    Arguments
    ---------
    wav : torch.Tensor, SampleSpool or AtPeak
        (T,) at 16 kHz. Where it ends before the microphone, windows have less
        of it, or nothing.
    delay : int
        Samples by which it is heard later in the microphone.
    """

    def __init__(self, wav: Samples, delay: int = 0):
        self.wav, self.delay = wav, delay

    def __call__(self, start: int, stop: int) -> torch.Tensor | None:
        """Give the part of a window; None for under 400 samples."""
        start, stop = start - self.delay, stop - self.delay
        part = self.wav[max(start, 0) : max(stop, 0)]
        if len(part) < MIN_SAMPLES:
            return None
        return torch.nn.functional.pad(part, (max(-start, 0), 0))


class Enrolment:
    """The voice to be extracted, the same beside all windows.

    As the released reader does, it is cut to the length of what it stands
    beside.

    Arguments
    ---------
    wav : torch.Tensor, SampleSpool or AtPeak
        (T,) at 16 kHz.

    Raises
    ------
    ValueError
        It is silent where windows hear it, or has under 400 samples.
    """

    def __init__(self, wav: Samples):
        self.wav = wav
        self.parts = {}  # by length; one object, whose features are made once

    def __call__(self, start: int, stop: int) -> torch.Tensor | None:
        """Give the part that is as long as a window, at most."""
        length = stop - start
        if length not in self.parts:
            part = self.wav[:length]
            if len(self.wav) < MIN_SAMPLES or not part.any():
                raise ValueError(
                    f"The enrolment has {len(self.wav)} samples, of which the "
                    f"first {len(part)} are heard: there is no voice in them. "
                    "Give some seconds of speech of whom to extract."
                )
            self.parts[length] = part
        return self.parts[length]
