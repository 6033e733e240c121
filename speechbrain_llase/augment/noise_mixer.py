"""Mixtures of given speech with drawn noise, in a drawn room.

Noise and rooms are waves in memory or files, which are read piece by piece
and may be larger than memory.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from speechbrain_llase.augment.mixture import (
    Mixture,
    check_audible,
    crop_repeated,
    mix,
    vary,
    with_fault,
)
from speechbrain_llase.augment.synthetic_noise import (
    NOISE_KINDS,
    synthesise_noise,
    synthesise_rir,
)
from speechbrain_llase.dataio.recordings import read_piece, read_speech
from speechbrain_llase.processing.signal_processing import SILENT, power

DRAWS = 100  # of a noise that turns out silent, before giving up


class NoiseMixer:
    """Draws noise, room and ratio for an utterance, and mixes.

    Arguments
    ---------
    noises : list
        Paths of files (str), or recordings in memory, (T,) floating; short
        ones are repeated. May be empty if no noise is drawn from it.
    rirs : list
        Room responses, paths or (R,) floating; may be empty.
    sample_rate : int
        In Hz, of everything in memory.
    resample : bool
        Whether files may have other rates.
    snr_db : tuple
        Lowest and highest ratio in dB.
    rir_prob : float
        Share of utterances in a room.
    recorded_rir_prob : float
        Share of the rooms that are taken from `rirs` (0 where that is empty);
        the others are synthesised.
    rt60_s : tuple
        Shortest and longest reverberation of synthesised rooms, in seconds.
    synthetic_prob, babble_prob : float
        Share of noises that are synthesised, and that are the sum of three to
        seven other talkers; the others come from `noises`.
    two_noise_prob : float
        Share of utterances with a second noise, 0 to 10 dB below the first.
    noise_speed : tuple
        Lowest and highest factor of the noise's playback speed.
    eq_db : float
        Largest gain of the random tilt and of the random peak that colour
        noise; 0 leaves the spectrum alone.
    fault_prob : float
        Share of noisy signals that are clipped or low-passed.
    talkers : list
        Utterances in memory, one for each talker, for babble.

    Raises
    ------
    ValueError
        A share or a range is impossible, there is nothing to draw from, or a
        signal is not 1-D, floating, finite and audible.
    """

    def __init__(
        self,
        noises: Sequence,
        rirs: Sequence,
        *,
        sample_rate: int = 16000,
        resample: bool = False,
        snr_db: tuple[float, float] = (-5.0, 20.0),
        rir_prob: float = 0.4,
        recorded_rir_prob: float = 0.2,
        rt60_s: tuple[float, float] = (0.1, 0.8),
        synthetic_prob: float = 0.4,
        babble_prob: float = 0.0,
        two_noise_prob: float = 0.2,
        noise_speed: tuple[float, float] = (0.7, 1.4),
        eq_db: float = 6.0,
        fault_prob: float = 0.0,
        talkers: Sequence = (),
    ):
        self.noises = check_sources(noises, "noises")
        self.rirs = check_sources(rirs, "rirs")
        self.talkers = check_sources(talkers, "clean")
        self.sample_rate, self.resample = sample_rate, resample
        self.snr_db = check_range("snr_db", snr_db)
        self.rt60_s = check_range("rt60_s", rt60_s, above=0.01)
        self.noise_speed = check_range("noise_speed", noise_speed, above=0)
        self.eq_db = check_range("eq_db", (0, eq_db))[1]
        self.rir_prob = check_share("rir_prob", rir_prob)
        recorded = check_share("recorded_rir_prob", recorded_rir_prob)
        self.recorded_rir_prob = recorded if rirs else 0.0
        self.babble_prob = check_share("babble_prob", babble_prob)
        self.made_prob = babble_prob + check_share(
            "synthetic_prob", synthetic_prob
        )
        self.two_noise_prob = check_share("two_noise_prob", two_noise_prob)
        self.fault_prob = check_share("fault_prob", fault_prob)
        if self.made_prob > 1 + 1e-9:
            raise ValueError(
                f"synthetic_prob and babble_prob add to {self.made_prob}; at "
                "most 1."
            )
        if not noises and self.made_prob < 1 - 1e-9:
            raise ValueError(
                "noises is an empty list; give recordings, or let "
                "synthetic_prob and babble_prob add to 1."
            )
        if babble_prob and len(talkers) < 2:
            raise ValueError("Babble needs at least two items in clean.")

    def __call__(
        self, clean: torch.Tensor, rng: np.random.Generator
    ) -> Mixture:
        """Mix one utterance, float32 (T,), not silent.

        The mixture is as long, and scales the samples of `clean` at most.
        """
        noise, kind = self.draw_noise(len(clean), rng)
        rir = self.draw_room(rng)
        snr_db = rng.uniform(*self.snr_db)
        return self.add_fault(mix(clean, noise, snr_db, None, rir, kind), rng)

    def draw_noise(
        self, size: int, rng: np.random.Generator, talker: int | None = None
    ) -> tuple[np.ndarray, str]:
        """Draw one noise or the sum of two, float32 (size,), and its kind.

        `talker` is the one of `talkers` who is not to babble.
        """
        noise, kind = self._one_noise(size, rng, talker)
        if rng.random() < self.two_noise_prob:
            second, second_kind = self._one_noise(size, rng, talker)
            below = 10 ** (-rng.uniform(0, 10) / 20)
            ratio = np.sqrt(power(noise) / power(second))
            noise = noise + np.float32(below * ratio) * second
            kind = f"{kind}+{second_kind}"
        return noise, kind

    def draw_room(self, rng: np.random.Generator) -> np.ndarray | None:
        """Draw a room response (R,), recorded or synthesised, or none."""
        if rng.random() >= self.rir_prob:
            return None
        if rng.random() >= self.recorded_rir_prob:
            rt60_s = rng.uniform(*self.rt60_s)
            return synthesise_rir(rt60_s, self.sample_rate, rng)
        rir = self.rirs[rng.integers(len(self.rirs))]
        if isinstance(rir, str):
            return read_speech(rir, self.sample_rate, self.resample)[1]
        return rir

    def add_fault(self, mixture: Mixture, rng: np.random.Generator) -> Mixture:
        """Clip or low-pass a share of the noisy signals."""
        if rng.random() < self.fault_prob:
            return with_fault(mixture, self.sample_rate, rng)
        return mixture

    def _one_noise(self, size, rng, talker):
        """A noise that is not silent, in random speed and colour; its name."""
        for _ in range(DRAWS):
            kind, draw = self._source(rng, talker)
            speed, rate = self.noise_speed, self.sample_rate
            noise = vary(draw, size, rate, speed, self.eq_db, rng)
            if power(noise) >= SILENT:
                return noise, kind
        raise ValueError(
            f"{DRAWS} pieces of noise were silent, the last one of {kind}; "
            "leave out noise that is silent nearly everywhere."
        )

    def _source(self, rng, talker):
        """Name of a noise, and what draws a number of samples of it."""
        drawn, babble = rng.random(), self.babble_prob
        if drawn >= self.made_prob and self.noises:
            noise = self.noises[rng.integers(len(self.noises))]
            if isinstance(noise, str):
                return noise, partial(self._read, noise, rng)
            return "recorded", partial(crop_repeated, noise, 0.01, rng)
        if babble and rng.random() * self.made_prob < babble:
            return "babble", partial(self._babble, talker, rng)
        kind = str(rng.choice(NOISE_KINDS))
        return kind, partial(self._synthesise, kind, rng)

    def _read(self, path, rng, size):
        """A piece of a file."""
        return read_piece(path, size, self.sample_rate, self.resample, rng)

    def _babble(self, talker, rng, size):
        """Three to seven others talking at once, each at the same power."""
        count = min(int(rng.integers(3, 8)), len(self.talkers) - 1)
        total = np.zeros(size, dtype=np.float32)
        for other in rng.choice(len(self.talkers) - 1, count, replace=False):
            wave = self.talkers[other + (other >= talker)]
            piece = crop_repeated(wave, 0.1, rng, size)
            total += piece / np.float32(np.sqrt(power(piece)))
        return total

    def _synthesise(self, kind, rng, size):
        """A noise of the given kind."""
        return synthesise_noise(kind, size, self.sample_rate, rng)


def check_sources(sources: Sequence, name: str) -> list:
    """Check every signal of a list; paths are left as they are."""
    return [
        x if isinstance(x, str) else check_audible(x, f"{name}[{i}]")
        for i, x in enumerate(sources)
    ]


def check_range(
    name: str, limits: tuple[float, float], above: float = float("-inf")
) -> tuple[float, float]:
    """Check the lowest and the highest value, and give them as floats."""
    low, high = (float(limit) for limit in limits)
    if not above < low <= high < float("inf"):
        raise ValueError(
            f"{name} is {low} to {high}; give the lowest and the highest value"
            + (f", both above {above}." if above > float("-inf") else ".")
        )
    return low, high


def check_share(name: str, value: float) -> float:
    """Check a share."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; it must lie in [0, 1].")
    return float(value)
