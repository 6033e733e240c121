"""Samples put aside: in memory while they are few, else in a temporary file."""

import tempfile
from collections.abc import Iterator

import numpy as np
import torch

KEPT_IN_MEMORY = 8 << 20  # bytes; 2 minutes at 16 kHz
SAMPLE_BYTES = 4  # a sample


class SampleSpool:
    """A float32 signal that is written once, then read in blocks.

    Use it in a `with` block: its file is gone at the end.
    """

    def __init__(self):
        self.file = tempfile.SpooledTemporaryFile(max_size=KEPT_IN_MEMORY)
        self.peak = 0.0
        self.length = 0

    def __enter__(self) -> "SampleSpool":
        return self

    def __exit__(self, *_) -> None:
        self.file.close()

    def write(self, wav: torch.Tensor) -> None:
        """Append (T,)."""
        if not len(wav):
            return
        low, high = wav.aminmax()  # without a copy of the wave
        self.peak = max(self.peak, -float(low), float(high))
        self.length += len(wav)
        self.file.write(wav.float().cpu().numpy().tobytes())

    def blocks(self, samples: int) -> Iterator[torch.Tensor]:
        """Yield (samples,) after (samples,); the last one is shorter."""
        for start in range(0, self.length, samples):
            self.file.seek(start * SAMPLE_BYTES)
            data = self.file.read(samples * SAMPLE_BYTES)
            yield torch.from_numpy(np.frombuffer(data, np.float32).copy())
