"""Read an audio file block by block, at the model's rate and in mono.

Gives the samples that SpeechBrain's `AudioNormalizer` gives for the whole
file: the same resampler runs on overlapping blocks.

Authors
 * The speechbrain_llase contributors 2026
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from speechbrain.augment.time_domain import Resample

BLOCK_S = 8  # seconds read at a time
REACH = 8  # resampling kernels reach fewer periods of the lower rate


def read_blocks(path: str | Path, sample_rate: int) -> Iterator[torch.Tensor]:
    """Read a file.

    Arguments
    ---------
    path : str or Path
        What libsndfile reads: WAV, FLAC, OGG, MP3 and others.
    sample_rate : int
        Wanted, in Hz.

    Yields
    ------
    block : torch.Tensor
        float32 (T,), channels averaged.

    Raises
    ------
    ValueError
        The file cannot be read as audio, holds no samples, or holds NaN or
        infinite ones.
    """
    count = 0
    try:
        with soundfile.SoundFile(str(path)) as file:
            frames = BLOCK_S * file.samplerate
            blocks = file.blocks(frames, dtype="float32", always_2d=True)
            resampler = BlockResampler(file.samplerate, sample_rate)
            for block in map(to_tensor, blocks):
                count += len(block)
                if not block.isfinite().all():
                    raise ValueError(f"{path} holds NaN or infinite samples.")
                yield resampler.push(block)
            yield resampler.finish()
    except (soundfile.LibsndfileError, OSError) as err:
        raise ValueError(
            f"{path} cannot be read as audio ({err}); allowed are "
            "WAV, FLAC, OGG, MP3 and what else libsndfile reads."
        ) from err
    if not count:
        raise ValueError(f"{path} holds no samples.")


def to_tensor(block: np.ndarray) -> torch.Tensor:
    """Average the channels of (T, C)."""
    return torch.from_numpy(block).mean(1)


class BlockResampler:
    """Resample a signal that comes in blocks, as if it came whole.

    Arguments
    ---------
    source, target : int
        Rates in Hz.
    """

    def __init__(self, source: int, target: int):
        divisor = math.gcd(source, target)
        self.source, self.target = source // divisor, target // divisor
        self.resample = Resample(source, target)
        # periods of the reduced rates on both sides that a sample depends on
        lower = min(self.source, self.target)
        self.margin = math.ceil(REACH / lower) + 1
        self.held = torch.zeros(0)
        self.lead = 0  # periods at its beginning that are out already

    def push(self, block: torch.Tensor) -> torch.Tensor:
        """Take (T,); return what is final."""
        if self.source == self.target:
            return block
        self.held = torch.cat((self.held, block))
        final = len(self.held) // self.source - self.margin
        if final <= self.lead:
            return block[:0]
        out = self.resample(self.held[None])[0]
        out = out[self.lead * self.target : final * self.target]
        kept = max(0, final - self.margin)
        self.held = self.held[kept * self.source :].clone()
        self.lead = final - kept
        return out

    def finish(self) -> torch.Tensor:
        """Return the rest."""
        if self.source == self.target or not len(self.held):
            return self.held[:0]
        return self.resample(self.held[None])[0][self.lead * self.target :]
