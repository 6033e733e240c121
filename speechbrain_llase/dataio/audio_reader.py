"""Read an audio file block by block, at the model's rate.

Any format that `open_sound` opens and any rate; the channels are averaged, or
one is taken, or each is kept.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from speechbrain.utils.logger import get_logger

from speechbrain_llase.dataio.audio_writer import NOT_SAMPLES, is_finite
from speechbrain_llase.dataio.resampling import RATES, BlockResampler
from speechbrain_llase.dataio.sample_buffer import SampleSpool
from speechbrain_llase.dataio.sound_file import Sound, open_sound

logger = get_logger(__name__)
BLOCK_S = 8  # seconds read at a time
MOST_AT_ONCE = 1 << 24  # samples of all channels read at a time
FRAME_S = 0.5  # seconds over which channels are compared
INACTIVE = 1e-3  # of the loudest frames' energy: below, a frame is no speech
CANCELLED = 0.5  # of the energy that the mean of unlike channels would have
MOST_CANCELLED = 0.2  # share of the energy that may be lost by averaging


@dataclass(frozen=True)
class Taken:
    """What of a file is read, and what of it its result keeps."""

    channels: str | int = "mix"  # or "each", or a number, from 1
    track: int = 1  # of the sound tracks, from 1
    keep_rate: bool = False  # the file's, in the result
    keep_highs: bool = False  # and what lies above the model's band

    def __post_init__(self):
        if self.keep_highs:  # at the model's rate there are none
            object.__setattr__(self, "keep_rate", True)
        number = self.channels
        if number not in ("mix", "each") and not is_number(number):
            raise ValueError(
                f"channels={number!r} must be 'mix', 'each' or a number from 1."
            )
        if not is_number(self.track):
            raise ValueError(f"track={self.track!r} must be a number from 1.")

    @classmethod
    def out_of(cls, options: dict[str, Any]) -> "Taken":
        """Take what it knows out of a function's keywords."""
        names = options.keys() & vars(cls()).keys()
        return cls(**{name: options.pop(name) for name in names})

    @property
    def settings(self) -> dict[str, Any]:
        """What differs from the usual, by name."""
        return {k: x for k, x in vars(self).items() if x != vars(Taken())[k]}


def is_number(number: object) -> bool:
    """Tell whether something counts from 1."""
    is_int = isinstance(number, int) and not isinstance(number, bool)
    return is_int and number >= 1


def read_blocks(
    path: str | Path | BinaryIO,
    sample_rate: int,
    taken: Taken = Taken(),
    warn: Callable[[str], None] | None = None,
    check: Callable[[float], None] = lambda seconds: None,
) -> Iterator[torch.Tensor]:
    """Read a file at the sample rate (Hz) that is wanted.

    An open file has to be seekable. `taken` says what of it; `warn` is told,
    in a few words, what is wrong with what is read (None: the log is); `check`
    is told after each block how many seconds were read, and may raise. Yields
    float32 (T,), or (T, C) where each channel is taken. A ValueError, if it
    cannot be read as audio, holds no samples, or NaN or infinite ones.
    """
    warn = warn or (lambda text: logger.warning("%s: %s.", path, text))
    try:
        with open_sound(path, taken.track) as sound:
            check_sound(path, sound, taken)
            blocks = resampled(path, sound, sample_rate, warn, check)
            if taken.channels == "mix" and sound.channels > 1:
                blocks = mixed(blocks, sound.channels, sample_rate, warn)
            elif taken.channels != "each":
                number = 1 if taken.channels == "mix" else taken.channels
                blocks = (block[:, number - 1] for block in blocks)
            yield from blocks
    except OSError as err:
        raise ValueError(f"{path} cannot be read: {err}") from err


def resampled(
    name: str | Path | BinaryIO,
    sound: Sound,
    sample_rate: int,
    warn: Callable[[str], None],
    check: Callable[[float], None],
) -> Iterator[torch.Tensor]:
    """Read to the end, whatever was stated: (T, C) at the wanted rate."""
    frames = min(BLOCK_S * sound.rate, MOST_AT_ONCE // sound.channels)
    resampler = BlockResampler(sound.rate, sample_rate, sound.channels)
    count, is_last = 0, False
    while not is_last:
        block = sound.read(frames)
        is_last = len(block) < frames
        count += len(block)
        if not is_finite(torch.from_numpy(block)):
            raise ValueError(f"{name} holds samples that are {NOT_SAMPLES}.")
        yield torch.from_numpy(resampler.push(block, is_last))
        check(count / sound.rate)
    stated = "" if sound.stated is None else f"{sound.stated:g} s"
    if not count:
        promise = f", though its header counts {stated}" if sound.stated else ""
        raise ValueError(f"{name} holds no samples{promise}.")
    for remark in sound.remarks:
        warn(remark)
    slack = sound.slack_s + 0.5 / sound.rate
    if stated and abs(count / sound.rate - sound.stated) > slack:
        warn(
            f"its header counts {stated}, {count / sound.rate:g} s are there "
            "and were read"
        )


def check_sound(
    name: str | Path | BinaryIO, sound: Sound, taken: Taken = Taken()
) -> None:
    """Refuse a rate that no recording has, and a channel that is not there."""
    if sound.rate not in RATES:
        raise ValueError(
            f"{name} has a sample rate of {sound.rate} Hz, so its header is "
            f"damaged; {RATES.start} to {RATES.stop - 1} Hz are read."
        )
    if isinstance(taken.channels, int) and taken.channels > sound.channels:
        raise ValueError(
            f"{name} has {sound.channels} channels; channel {taken.channels} "
            "is not there."
        )


def mixed(
    blocks: Iterator[torch.Tensor],
    channels: int,
    rate: int,
    warn: Callable[[str], None],
) -> Iterator[torch.Tensor]:
    """Average channels, blocks of (T, C), unless that would cancel speech.

    Then the strongest one is taken. All is read before it is known; the
    samples wait in a temporary file.
    """
    energies = ChannelEnergies(channels, round(FRAME_S * rate))
    with SampleSpool() as spool:
        for block in blocks:
            spool.write(block.flatten())
            energies.add(block)
        pick = energies.strongest() if energies.cancel() else None
        if pick is not None:
            warn(
                f"its channels cancel each other; channel {pick + 1} of "
                f"{channels}, the strongest, is taken"
            )
        for block in spool.blocks(channels * BLOCK_S * rate):
            block = block.view(-1, channels)
            yield block.mean(1) if pick is None else block[:, pick].clone()


class ChannelEnergies:
    """Energies of channels and of their mean, frame by frame."""

    def __init__(self, channels: int, frame: int):
        self.channels, self.frame = channels, frame
        self.rest = torch.zeros(0, channels)
        self.found: list[torch.Tensor] = []  # (N, 1 + C), the mean's first

    def add(self, block: torch.Tensor) -> None:
        """Take (T, C)."""
        block = torch.cat((self.rest, block))
        whole = len(block) // self.frame * self.frame
        self.rest = block[whole:].clone()
        self.measure(block[:whole].view(-1, self.frame, self.channels))

    def measure(self, frames: torch.Tensor) -> None:
        """Take (N, samples, C)."""
        mean = frames.mean(2, keepdim=True)
        both = torch.cat((mean, frames), 2)
        self.found.append(both.double().square().sum(1))

    def active(self) -> torch.Tensor:
        """Energies (N, 1 + C) of the frames that are not quiet."""
        if len(self.rest):
            self.measure(self.rest[None])
            self.rest = self.rest[:0]
        found = torch.cat(self.found)
        level = found[:, 1:].mean(1)
        return found[level > INACTIVE * level.quantile(0.95)]

    def cancel(self) -> bool:
        """Tell whether the mean loses what the channels hold.

        The mean of unlike channels has 1 / C of their energy, that of like
        ones all of it.
        """
        found = self.active()
        level = found[:, 1:].mean(1)
        lost = found[:, 0] * self.channels < CANCELLED * level
        return bool(level[lost].sum() > MOST_CANCELLED * level.sum())

    def strongest(self) -> int:
        """Which channel has the most energy, from 0."""
        return int(self.active()[:, 1:].sum(0).argmax())
