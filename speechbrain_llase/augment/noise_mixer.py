"""Clean speech into noise and rooms that are read from disk as needed.

`mixing.MixtureSampler` holds all it draws from in memory and may change the
speech, too. Here the speech stays as it is, because its tokens are known
already, and noise may be larger than memory.

Authors
 * The speechbrain_llase contributors 2026
"""

from functools import partial

import numpy as np
import torch

from speechbrain_llase.augment.mixture import (
    Mixture,
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
    noises : list of str
        Files of noise, read piece by piece; may be empty if all noise is
        synthesised.
    rirs : list of str
        Files of room responses; may be empty.
    sample_rate : int
        In Hz.
    resample : bool
        Whether files may have other rates.
    snr_db : tuple
        Lowest and highest ratio in dB.
    rir_prob : float
        Share of utterances in a room.
    recorded_rir_prob : float
        Share of the rooms that are taken from `rirs`, where there are any.
    rt60_s : tuple
        Shortest and longest reverberation of synthesised rooms, in seconds.
    synthetic_prob : float
        Share of noises that are synthesised.
    two_noise_prob : float
        Share of utterances with a second noise, 0 to 10 dB below the first.
    noise_speed : tuple
        Lowest and highest factor of the noise's playback speed.
    eq_db : float
        Largest gain of the random colour given to noise.
    fault_prob : float
        Share of noisy signals that are clipped or low-passed.

    Raises
    ------
    ValueError
        A share or a range is impossible, or there is no noise.
    """

    def __init__(
        self,
        noises: list[str],
        rirs: list[str],
        *,
        sample_rate: int,
        resample: bool,
        snr_db: tuple[float, float],
        rir_prob: float,
        recorded_rir_prob: float,
        rt60_s: tuple[float, float],
        synthetic_prob: float,
        two_noise_prob: float,
        noise_speed: tuple[float, float],
        eq_db: float,
        fault_prob: float,
    ):
        self.noises, self.rirs = noises, rirs
        self.sample_rate, self.resample = sample_rate, resample
        self.snr_db = ordered("snr_db", snr_db)
        self.rt60_s = ordered("rt60_s", rt60_s, above=0.01)
        self.noise_speed = ordered("noise_speed", noise_speed, above=0.0)
        self.eq_db = eq_db
        self.rir_prob = share("rir_prob", rir_prob)
        recorded = share("recorded_rir_prob", recorded_rir_prob)
        self.recorded_rir_prob = recorded if rirs else 0.0
        self.synthetic_prob = share("synthetic_prob", synthetic_prob)
        self.two_noise_prob = share("two_noise_prob", two_noise_prob)
        self.fault_prob = share("fault_prob", fault_prob)
        if not noises and synthetic_prob < 1:
            raise ValueError(
                f"There are no files of noise and synthetic_prob is "
                f"{synthetic_prob}; give noise, or set it to 1."
            )

    def __call__(
        self, clean: torch.Tensor, rng: np.random.Generator
    ) -> Mixture:
        """Mix one utterance.

        Arguments
        ---------
        clean : torch.Tensor
            float32 (T,), not silent.
        rng : np.random.Generator
            Source of all randomness.

        Returns
        -------
        mixture : Mixture
            As long as `clean`, whose samples it scales at most.
        """
        noise = self._noise(len(clean), rng)
        if rng.random() < self.two_noise_prob:
            second = self._noise(len(clean), rng)
            below = 10 ** (-rng.uniform(0, 10) / 20)
            ratio = np.sqrt(power(noise) / power(second))
            noise = noise + np.float32(below * ratio) * second
        rir = self._rir(rng) if rng.random() < self.rir_prob else None
        mixture = mix(clean, noise, rng.uniform(*self.snr_db), rir=rir)
        if rng.random() < self.fault_prob:
            mixture = with_fault(mixture, self.sample_rate, rng)
        return mixture

    def _noise(self, num_samples, rng):
        """One noise that is not silent, in random speed and colour."""
        for _ in range(DRAWS):
            if rng.random() < self.synthetic_prob:
                source = str(rng.choice(NOISE_KINDS))
                draw = partial(self._synthesised, source, rng)
            else:
                source = self.noises[rng.integers(len(self.noises))]
                draw = partial(self._recorded, source, rng)
            noise = vary(
                draw,
                num_samples,
                self.sample_rate,
                self.noise_speed,
                self.eq_db,
                rng,
            )
            if power(noise) >= SILENT:
                return noise
        raise ValueError(
            f"{DRAWS} pieces of noise were silent, the last one of {source}; "
            "leave out noise that is silent nearly everywhere."
        )

    def _synthesised(self, kind, rng, size):
        """A noise of the given kind."""
        return synthesise_noise(kind, size, self.sample_rate, rng)

    def _recorded(self, path, rng, size):
        """A piece of a file."""
        return read_piece(path, size, self.sample_rate, self.resample, rng)

    def _rir(self, rng):
        """One room response, recorded or synthesised."""
        if rng.random() < self.recorded_rir_prob:
            path = self.rirs[rng.integers(len(self.rirs))]
            return read_speech(path, self.sample_rate, self.resample)[1]
        return synthesise_rir(rng.uniform(*self.rt60_s), self.sample_rate, rng)


def ordered(
    name: str, limits: tuple[float, float], above: float = float("-inf")
) -> tuple[float, float]:
    """Check a range."""
    low, high = limits
    if not above < low <= high:
        raise ValueError(
            f"{name} is {list(limits)}; give the lowest and the highest value"
            + (f", above {above}." if above > float("-inf") else ".")
        )
    return low, high


def share(name: str, value: float) -> float:
    """Check a share."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; it must lie in [0, 1].")
    return value
