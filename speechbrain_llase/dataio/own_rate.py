"""A result at its input's rate, with what lies above the model's band, if asked.

The model knows no more than 8 kHz. What the input holds above is kept as a
difference: the input less itself brought to the model's rate and back. Such a
result is the input, bit for bit of single precision, where the model changes
nothing. As the band below becomes quieter, the one above does, too.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import torch
from speechbrain.utils.logger import get_logger

from speechbrain_llase.dataio.audio_formats import refuse_rate
from speechbrain_llase.dataio.audio_reader import (
    BLOCK_S,
    Taken,
    read_blocks,
)
from speechbrain_llase.dataio.resampling import BlockResampler
from speechbrain_llase.dataio.sample_buffer import SampleSpool
from speechbrain_llase.dataio.sound_file import open_sound
from speechbrain_llase.processing.band_gain import BandGain
from speechbrain_llase.processing.signal_processing import fit_length

logger = get_logger(__name__)


def rate_kept(
    path: str | Path | BinaryIO, taken: Taken, rate: int, ending: str = "wav"
) -> int:
    """Rate (Hz) of a file's result: the file's own where that is kept.

    A ValueError, if the format of this ending knows no such rate.
    """
    if not taken.keep_rate:
        return rate
    with open_sound(path, taken.track) as sound:
        refuse_rate(ending, sound.rate)
        return sound.rate


def at_own_rate(
    blocks: Iterable[torch.Tensor],
    path: str | Path | BinaryIO,
    taken: Taken,
    rate: int,
    warn: Callable[[str], None] | None = None,
) -> Iterator[torch.Tensor]:
    """Bring a file's result to the file's rate and length, in flat memory.

    Arguments
    ---------
    blocks : iterable of torch.Tensor
        float32 (T,) or (T, C), the result at the model's rate.
    path : str, Path or file
        What they were made of; it is read once more.
    taken : Taken
        What of it was read, and whether rate and highs are kept.
    rate : int
        The model's, Hz.
    warn : callable, optional
        Told that the result was scaled down; None: the log is.

    Yields
    ------
    block : torch.Tensor
        float32 (S,) or (S, C), at most at full scale, in all as many samples
        as the file has; the blocks as they are, where no rate is kept.
    """
    own = rate_kept(path, taken, rate)
    if own == rate:
        yield from blocks
        return
    warn = warn or (lambda text: logger.warning("%s: %s.", path, text))
    made = matched(blocks, path, taken, rate, own)
    with SampleSpool() as spool:
        shape = None
        for block in made:
            shape = block.shape[1:]
            spool.write(block.flatten())
        if spool.peak > 1:
            warn(
                f"the result peaks at {spool.peak:.2f} at {own} Hz; scaled to "
                "full scale"
            )
        for block in spool.blocks(shape.numel() * BLOCK_S * own):
            block = block.view(-1, *shape)
            yield block / spool.peak if spool.peak > 1 else block


def matched(
    blocks: Iterable[torch.Tensor],
    path: str | Path | BinaryIO,
    taken: Taken,
    rate: int,
    own: int,
) -> Iterator[torch.Tensor]:
    """Yield the result at the rate of its own, sample by sample of the file."""
    highs = taken.keep_highs and own > rate
    wanted = taken if highs else Taken(1, taken.track)  # to be counted
    results, crossover = Pieces(blocks), None
    for noisy in read_blocks(path, own, wanted, warn=lambda text: None):
        heard = noisy.shape[1:].numel() if highs else 0
        crossover = crossover or Crossover(rate, own, results, heard)
        yield crossover.push(noisy)
    yield crossover.finish()


class Pieces:
    """A signal in blocks, of which pieces of any length are taken."""

    def __init__(self, blocks: Iterable[torch.Tensor]):
        self.blocks = iter(blocks)
        self.held = next(self.blocks, torch.zeros(0))
        self.shape = self.held.shape[1:]  # of a sample: () or (C,)

    def take(self, count: int) -> torch.Tensor:
        """Take the next samples (T, C); zeros follow the end."""
        parts, missing = [self.held], count - len(self.held)
        while missing > 0 and (block := next(self.blocks, None)) is not None:
            parts.append(block)
            missing -= len(block)
        whole = torch.cat(parts)
        self.held = whole[count:].clone()
        taken = whole[:count].detach().cpu().float()
        return fit_length(in_columns(taken).T, count).T


def in_columns(wave: torch.Tensor) -> torch.Tensor:
    """Give (T,) or (T, C) as (T, C)."""
    return wave if wave.dim() > 1 else wave[:, None]


class Crossover:
    """Join a result at the model's rate and its input's band above.

    Result and input's round trip go through one resampler side by side, so
    what is compared belongs together.

    Arguments
    ---------
    rate, own : int
        Of the model and of the input, Hz.
    results : Pieces
        The result.
    heard : int
        Channels of the input; 0: its samples are only counted.
    """

    def __init__(self, rate: int, own: int, results: Pieces, heard: int):
        self.rate, self.own, self.results = rate, own, results
        channels = results.shape.numel()
        self.channels, self.heard = channels, heard
        self.down = BlockResampler(own, rate, max(heard, 1))
        self.up = BlockResampler(rate, own, channels + heard)
        self.gain = BandGain(rate)
        self.noisy = torch.zeros(0, max(heard, 1))  # waits for its result
        self.both = torch.zeros(0, channels + heard)  # result and round trip
        self.given = 0

    def push(self, noisy: torch.Tensor) -> torch.Tensor:
        """Take the input's next samples (T,) or (T, C); give the result's."""
        return self.step(in_columns(noisy), False)

    def finish(self) -> torch.Tensor:
        """End both; give the rest."""
        return self.step(self.noisy[:0], True)

    def step(self, noisy: torch.Tensor, last: bool) -> torch.Tensor:
        """Take both on, and give what is final."""
        low = torch.from_numpy(self.down.push(noisy.numpy(), last))
        wave = self.results.take(len(low))
        if not self.heard:
            low = low[:, :0]
        else:
            self.gain.push(wave, low, last)
        both = torch.cat((wave, low), 1)
        made = torch.from_numpy(self.up.push(both.numpy(), last))
        self.noisy = torch.cat((self.noisy, noisy))
        self.both = torch.cat((self.both, made))
        if last:  # resamplers round lengths
            self.both = fit_length(self.both.T, len(self.noisy)).T
        return self.give().reshape(-1, *self.results.shape)

    def give(self) -> torch.Tensor:
        """Give the samples of which all is known."""
        count = min(len(self.noisy), len(self.both))
        if self.heard:
            known = self.gain.known * self.own // self.rate - self.given
            count = min(count, max(known, 0))
        noisy, both = self.noisy[:count], self.both[:count]
        self.noisy, self.both = self.noisy[count:], self.both[count:]
        wave, back = both.split((self.channels, self.heard), 1)
        if self.heard:
            times = torch.arange(self.given, self.given + count).double()
            gain = self.gain(times * self.rate / self.own)
            wave = wave + gain * (noisy - back)
        self.given += count
        return wave
