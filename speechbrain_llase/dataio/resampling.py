"""Any rate to the model's, block by block."""

import numpy as np
import soxr
import torch

QUALITY = soxr.HQ  # 20 bits: noise and aliases below -120 dB
RATES = range(1000, 3_072_001)  # Hz; the highest are those of DSD


class BlockResampler:
    """Resample a signal given in blocks, as if it were given whole.

    `source` and `target` are rates in Hz; blocks are (T, channels), float32.
    """

    def __init__(self, source: int, target: int, channels: int = 1):
        self.stream = None
        if source != target:
            self.stream = soxr.ResampleStream(
                source, target, channels, "float32", QUALITY
            )
        self.channels = channels

    def push(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """Take a block, perhaps the last one; return what is final."""
        if self.stream is None:
            return block
        return self.stream.resample_chunk(np.ascontiguousarray(block), last)

    def finish(self) -> np.ndarray:
        """Return the rest."""
        return self.push(np.zeros((0, self.channels), np.float32), True)


def resample_mono(samples: np.ndarray, rate: int, target: int) -> torch.Tensor:
    """Average (T, C), float32, and bring it from a rate (Hz) to another."""
    mono = np.ascontiguousarray(samples.mean(1))
    if rate != target:
        mono = soxr.resample(mono, rate, target, QUALITY)
    return torch.from_numpy(mono)
