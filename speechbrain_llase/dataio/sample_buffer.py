"""Samples put aside: in memory while they are few, else in a temporary file."""

import tempfile
from collections.abc import Iterator

import numpy as np
import torch

KEPT_IN_MEMORY = 8 << 20  # bytes; 2 minutes at 16 kHz
SAMPLE_BYTES = 4  # a sample
BLENDED = 1 << 18  # samples at a time


class SampleSpool:
    """A float32 signal that is written once, then read in blocks.

    Use it in a `with` block: its file is gone at the end.
    """

    def __init__(self):
        self.file = tempfile.SpooledTemporaryFile(max_size=KEPT_IN_MEMORY)
        self.peak = 0.0
        self.length = 0

    @property
    def voices(self) -> "list[SampleSpool]":
        """The one signal that is in it; see `SpeakerSpools`."""
        return [self]

    def __enter__(self) -> "SampleSpool":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Forget the samples."""
        self.file.close()

    def write(self, wav: torch.Tensor) -> None:
        """Append (T,)."""
        if not len(wav):
            return
        low, high = wav.aminmax()  # without a copy of the wave
        self.peak = max(self.peak, -float(low), float(high))
        self.length += len(wav)
        self.file.write(wav.float().cpu().numpy().tobytes())

    def blend(self, other: "SampleSpool", own: float, theirs: float) -> None:
        """Become a sum with another signal of this length, in its place."""
        self.peak = 0.0
        for start in range(0, self.length, BLENDED):
            part = slice(start, start + BLENDED)
            wav = own * self[part] + theirs * other[part]
            self.peak = max(self.peak, float(wav.abs().max()))
            self.file.seek(start * SAMPLE_BYTES)
            self.file.write(wav.numpy().tobytes())

    def __len__(self) -> int:
        """Count the samples."""
        return self.length

    def __getitem__(self, part: slice) -> torch.Tensor:
        """Read some neighbours, as of a tensor."""
        start, stop, _ = part.indices(self.length)
        self.file.seek(start * SAMPLE_BYTES)
        data = self.file.read(max(stop - start, 0) * SAMPLE_BYTES)
        return torch.from_numpy(np.frombuffer(data, np.float32).copy())

    def blocks(self, samples: int) -> Iterator[torch.Tensor]:
        """Yield (samples,) after (samples,); the last one is shorter."""
        for start in range(0, self.length, samples):
            yield self[start : start + samples]


class SpeakerSpools:
    """A `SampleSpool` for each of two speakers, written together."""

    def __init__(self):
        self.voices = [SampleSpool() for _ in range(2)]

    def __enter__(self) -> "SpeakerSpools":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Forget the samples."""
        for spool in self.voices:
            spool.close()

    def write(self, wavs: torch.Tensor) -> None:
        """Append (T, 2), or (T,) for both."""
        voices = wavs.unbind(1) if wavs.dim() == 2 else (wavs, wavs)
        for spool, voice in zip(self.voices, voices, strict=True):
            spool.write(voice)

    @property
    def length(self) -> int:
        """Count the samples of each."""
        return self.voices[0].length
