"""Read an audio file block by block, at the model's rate and in mono.

Gives the samples that SpeechBrain's `AudioNormalizer` gives for the whole
file: the same resampler runs on overlapping blocks.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from speechbrain.augment.time_domain import Resample

from speechbrain_llase.dataio.audio_writer import is_finite, signals_later

BLOCK_S = 8  # seconds read at a time
REACH = 8  # resampling kernels reach fewer periods of the lower rate
MAX_TERM = 1000  # of the reduced fraction of two rates; kernels grow with it


def read_blocks(
    path: str | Path | BinaryIO, sample_rate: int
) -> Iterator[torch.Tensor]:
    """Read what libsndfile reads, at the sample rate (Hz) that is wanted.

    Yields float32 (T,), channels averaged. An open file has to be seekable. A
    ValueError, if it cannot be read as audio, holds no samples, or NaN or
    infinite ones, or if its rate has too little in common with the wanted one.
    """
    count = 0
    try:
        with signals_later():
            opened = soundfile.SoundFile(to_source(path))
        with opened as file:
            frames = BLOCK_S * file.samplerate
            blocks = file.blocks(frames, dtype="float32", always_2d=True)
            check_convertible(path, file.samplerate, sample_rate)
            resampler = BlockResampler(file.samplerate, sample_rate)
            for block in map(to_tensor, undisturbed(blocks)):
                count += len(block)
                if not is_finite(block):
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


def undisturbed(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Let signals wait while libsndfile reads.

    It reads an open file through Python functions, in which an interrupt
    would be lost and look like the file's end.
    """
    while True:
        with signals_later():
            block = next(blocks, None)
        if block is None:
            return
        yield block


def check_convertible(
    name: str | Path | BinaryIO, source: int, target: int
) -> None:
    """Refuse a rate whose conversion would take gigabytes."""
    if max(source, target) // math.gcd(source, target) > MAX_TERM:
        raise ValueError(
            f"{name} has a sample rate of {source} Hz, which has too little "
            f"in common with {target} Hz to be converted. Save it at 44100 or "
            "48000 Hz."
        )


def to_source(path: str | Path | BinaryIO) -> str | bytes | BinaryIO:
    """Give soundfile what it can open, names that are no UTF-8 included."""
    if hasattr(path, "read"):
        return path
    return str(path) if os.name == "nt" else os.fsencode(path)


def to_tensor(block: np.ndarray) -> torch.Tensor:
    """Average the channels of (T, C)."""
    return torch.from_numpy(block).mean(1)


class BlockResampler:
    """Resample a signal given in blocks, as if it were given whole.

    `source` and `target` are rates in Hz.
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
