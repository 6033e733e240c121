"""Noisy training mixtures of clean speech, noise and rooms, on the fly.

`mix` is the arithmetic of one mixture, `NoiseMixer` draws noise and room,
`MixtureSampler` the speech too, `MixtureDataset` numbers the draws.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from speechbrain_llase.augment.mixture import Mixture, crop, mix, vary
from speechbrain_llase.augment.noise_mixer import NoiseMixer, check_range
from speechbrain_llase.augment.synthetic_noise import (
    NOISE_KINDS,
    synthesise_noise,
    synthesise_rir,
)
from speechbrain_llase.dataio.recordings import load_folder

__all__ = [
    "NOISE_KINDS",
    "Mixture",
    "MixtureDataset",
    "MixtureSampler",
    "load_folder",
    "mix",
    "synthesise_noise",
    "synthesise_rir",
]
SHORTEST_S = 0.1  # of an utterance


class MixtureSampler(NoiseMixer):
    """Draws mixtures: who speaks, in which noise, room, ratio and level.

    Arguments
    ---------
    clean : list
        Utterances, (T,) floating tensors or arrays, each of a speaker of its
        own (babble takes other items of this list). One that is shorter than
        a segment is put at a random place between zeros.
    noises, rirs : list
        See `NoiseMixer`.
    segment_s : float
        Length of a mixture in seconds.
    level_db : tuple
        Lowest and highest RMS of the noisy signal in dBFS.
    speed : tuple
        Lowest and highest factor of the speech's playback speed (and pitch).
    **settings
        See `NoiseMixer`; `eq_db` colours speech and target, too.

    Raises
    ------
    ValueError
        See `NoiseMixer`.

    Example
    -------
    >>> sampler = MixtureSampler(
    ...     [torch.randn(16000)], [torch.randn(8000)], [], segment_s=0.5
    ... )
    >>> sampler.sample(np.random.default_rng(0)).noisy.shape
    torch.Size([8000])
    """

    def __init__(
        self,
        clean: Sequence,
        noises: Sequence,
        rirs: Sequence,
        segment_s: float,
        *,
        level_db: tuple[float, float] = (-38.0, -18.0),
        speed: tuple[float, float] = (0.9, 1.1),
        **settings,
    ):
        super().__init__(noises, rirs, talkers=clean, **settings)
        self.num_samples = round(segment_s * self.sample_rate)
        self.level_db = check_range("level_db", level_db)
        self.speed = check_range("speed", speed, above=0)
        if self.num_samples < 1:
            raise ValueError("segment_s is below one sample; make it longer.")
        if not self.talkers:
            raise ValueError("clean is an empty list; give utterances.")
        shortest = min(wave.size for wave in self.talkers)
        if shortest < SHORTEST_S * self.sample_rate:
            raise ValueError(
                f"An utterance in clean has {shortest} samples; leave out "
                f"those below {SHORTEST_S} s."
            )

    def sample(self, rng: np.random.Generator) -> Mixture:
        """Draw one mixture of (round(segment_s * sample_rate),) samples.

        `rng` (np.random.Generator) is the source of all randomness.
        """
        talker = int(rng.integers(len(self.talkers)))
        speech = self.draw_speech(talker, rng)
        noise, kind = self.draw_noise(self.num_samples, rng, talker)
        snr_db, level_db = (
            rng.uniform(*self.snr_db),
            rng.uniform(*self.level_db),
        )
        rir = self.draw_room(rng)
        mixture = mix(speech, noise, snr_db, level_db, rir, kind)
        return self.add_fault(mixture, rng)

    def draw_speech(self, talker: int, rng: np.random.Generator) -> np.ndarray:
        """A crop (T,) of one utterance, in random speed and colour."""
        draw = partial(crop, self.talkers[talker], 0.1, rng)
        size, rate = self.num_samples, self.sample_rate
        return vary(draw, size, rate, self.speed, self.eq_db, rng)


class MixtureDataset(torch.utils.data.Dataset):
    """Numbered mixtures: item i of an epoch is always the same.

    The generator of item i is seeded by (seed, epoch, i), whichever worker
    makes it. The epoch is kept in shared memory, so that `set_epoch` reaches
    persistent workers; call it before the epoch's iteration begins.

    Arguments
    ---------
    sampler : MixtureSampler
    length : int
        Items in an epoch, at least 1.
    seed : int
        Not negative.

    Raises
    ------
    ValueError
        If length or seed is out of range.

    Example
    -------
    >>> sampler = MixtureSampler(
    ...     [torch.randn(16000)], [torch.randn(8000)], [], segment_s=0.5
    ... )
    >>> dataset = MixtureDataset(sampler, length=2, seed=1)
    >>> sorted(dataset[1])
    ['clean', 'id', 'noisy', 'snr_db']
    >>> dataset[1]["id"]
    'mix-1-0-1'
    """

    def __init__(self, sampler: MixtureSampler, length: int, seed: int):
        if length < 1 or seed < 0:
            raise ValueError(
                f"length is {length} and seed {seed}; length must be at least "
                "1 and seed at least 0."
            )
        self.sampler = sampler
        self.length = length
        self.seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose which epoch's items are given from now on; not negative."""
        if epoch < 0:
            raise ValueError(f"epoch is {epoch}; it must be at least 0.")
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Items in an epoch."""
        return self.length

    def __getitem__(self, index: int) -> dict:
        """Make item `index`, from 0 to length - 1.

        A dict of id (str), noisy and clean ((T,) float32 tensors), snr_db
        (float).
        """
        if not 0 <= index < self.length:
            raise IndexError(f"Item {index} of {self.length}.")
        epoch = int(self._epoch)
        rng = np.random.default_rng([self.seed, epoch, index])
        mixture = self.sampler.sample(rng)
        return {
            "id": f"mix-{self.seed}-{epoch}-{index}",
            "noisy": mixture.noisy,
            "clean": mixture.clean,
            "snr_db": mixture.snr_db,
        }
