"""Mixtures whose targets are cleaner than the speech that is in them.

They are as loud as it is, too: where a room answers a far talker, the direct
sound alone may be 20 dB softer than what is heard, and who learns from that
makes speech fade away.
"""

import copy
import dataclasses

import numpy as np
import torch

from speechbrain_llase.augment.mixture import (
    vary,
    with_fault,
)
from speechbrain_llase.augment.mixture_dataset import MixtureSampler
from speechbrain_llase.augment.steady_background import remove_background
from speechbrain_llase.processing.framing import SAMPLE_RATE
from speechbrain_llase.processing.hearing import hear, remove_rumble
from speechbrain_llase.processing.signal_processing import power

CROPS_TRIED = 10  # of a crop, before one is taken as it is
CROP_POWER = 0.1  # of an utterance's mean that a crop must hold


@dataclasses.dataclass(frozen=True)
class Pair:
    """A mixture as the model hears it, and what should come of it."""

    heard: torch.Tensor  # (T,) float32, out of `hear`
    target: torch.Tensor  # (T,) float32, as loud as its speech; zeros: none
    recorded: torch.Tensor  # (T,) float32, with its own background; zeros, too
    clean: torch.Tensor  # (T,) float32, the speech as recorded, at any level


class TargetSampler(MixtureSampler):
    """Draws mixtures and targets without the background of the speech.

    Arguments
    ---------
    clean : list
        Utterances, (T,) floating.
    noises, rirs : list
        As for `MixtureSampler`.
    segment_s : float
        Length in seconds.
    silent_prob : float
        Share of mixtures without speech.
    fault_prob : float
        Share whose noisy signal is clipped or low-passed.
    likely_snr_db : float, optional
        The most likely ratio in dB: ratios are then drawn from a triangle
        over `snr_db`, otherwise evenly.
    **settings : dict
        As for `MixtureSampler`.

    Example
    -------
    >>> sampler = TargetSampler(
    ...     [torch.randn(16000)], [torch.randn(8000)], [], segment_s=0.5
    ... )
    >>> sampler.pair(np.random.default_rng(0)).target.shape
    torch.Size([8000])
    """

    def __init__(
        self,
        clean: list,
        noises: list,
        rirs: list,
        segment_s: float,
        *,
        silent_prob: float = 0.03,
        fault_prob: float = 0.0,
        likely_snr_db: float | None = None,
        **settings,
    ):
        super().__init__(clean, noises, rirs, segment_s, **settings)
        if not (0 <= silent_prob <= 1 and 0 <= fault_prob <= 1):
            raise ValueError(
                f"silent_prob is {silent_prob} and fault_prob {fault_prob}; "
                "give shares from 0 to 1."
            )
        self.silent_prob, self.pair_fault_prob = silent_prob, fault_prob
        self.snr_range, self.likely_snr_db = self.snr_db, likely_snr_db
        self._cleaner = {}  # by place in memory: repeated items share one
        for wave in self.talkers:
            if wave.ctypes.data not in self._cleaner:
                cleaner = remove_background(torch.from_numpy(wave)).numpy()
                self._cleaner[wave.ctypes.data] = cleaner

    def pair(self, rng: np.random.Generator) -> Pair:
        """Draw one mixture and its target.

        Arguments
        ---------
        rng : np.random.Generator
            Source of all randomness.

        Returns
        -------
        pair : Pair
            Signals of (round(segment_s * sample_rate),) samples.
        """
        if self.likely_snr_db is not None:
            low, high = self.snr_range
            drawn = float(rng.triangular(low, self.likely_snr_db, high))
            self.snr_db = drawn, drawn
        mixture = self.sample(rng)
        speech, target = self._drawn
        gain = np.dot(mixture.clean.numpy(), speech) / np.dot(speech, speech)
        louder = mixture.reverberant.norm() / mixture.clean.norm()
        target = torch.from_numpy(target * np.float32(gain)) * louder
        noisy, recorded = mixture.noisy, mixture.clean * louder
        if rng.random() < self.silent_prob:
            noisy = noisy - mixture.reverberant
            target, recorded = torch.zeros(2, len(target))
        elif rng.random() < self.pair_fault_prob:
            noisy = with_fault(mixture, self.sample_rate, rng).noisy
        heard, gain = hear(noisy)
        target, recorded = (remove_rumble(x) * gain for x in (target, recorded))
        return Pair(heard, target, recorded, mixture.clean)

    def draw_speech(self, talker: int, rng: np.random.Generator) -> np.ndarray:
        """A crop of one utterance; the same of the cleaner one is kept."""
        wave, twin = self.talkers[talker], copy.deepcopy(rng)
        cleaner, places = self._cleaner[wave.ctypes.data], []

        def draw(size):
            places.append(find_place(wave, rng, size))
            return cut(wave, places[0], size)

        def draw_again(size):
            find_place(wave, twin, size)  # the two stay in step
            return cut(cleaner, places[0], size)

        settings = self.num_samples, self.sample_rate, self.speed, self.eq_db
        speech = vary(draw, *settings, rng)
        self._drawn = speech, vary(draw_again, *settings, twin)
        return speech


class RecordedPairs:
    """Draws crops of recordings that exist with and without noise.

    Arguments
    ---------
    recordings : list of (torch.Tensor, torch.Tensor)
        Noisy and clean, (T,) each, of one length.
    segment_s : float
        Length of a crop in seconds; shorter recordings stand between zeros.

    Example
    -------
    >>> noisy, clean = torch.randn(2, 16000)
    >>> pairs = RecordedPairs([(noisy, clean)], segment_s=0.5)
    >>> pairs.pair(np.random.default_rng(0)).heard.shape
    torch.Size([8000])
    """

    def __init__(self, recordings: list, segment_s: float):
        self.num_samples = round(segment_s * SAMPLE_RATE)
        self.recordings = [
            [x.numpy() for x in (noisy, remove_background(clean), clean)]
            for noisy, clean in recordings
        ]

    def pair(self, rng: np.random.Generator) -> Pair:
        """Draw one crop; see `TargetSampler.pair`."""
        waves = self.recordings[rng.integers(len(self.recordings))]
        start = find_place(waves[2], rng, self.num_samples)
        noisy, target, clean = (
            torch.from_numpy(cut(wave, start, self.num_samples))
            for wave in waves
        )
        heard, gain = hear(noisy)
        target, recorded = (remove_rumble(x) * gain for x in (target, clean))
        return Pair(heard, target, recorded, clean)


def find_place(wave: np.ndarray, rng: np.random.Generator, size: int) -> int:
    """Where a crop begins that is no pause; below 0 for shorter waves."""
    spare = len(wave) - size
    if spare <= 0:
        return -int(rng.integers(1 - spare))
    side = size // 8  # `vary` cuts the ends
    for _ in range(CROPS_TRIED):
        start = int(rng.integers(spare + 1))
        middle = wave[start + side : start + size - side]
        if power(middle) >= CROP_POWER * power(wave):
            break
    return start


def cut(wave: np.ndarray, start: int, size: int) -> np.ndarray:
    """Cut from `start` on; a wave that is shorter stands between zeros."""
    if start >= 0 and start + size <= len(wave):
        return wave[start : start + size]
    padded = np.zeros(size, np.float32)
    padded[-start : len(wave) - start] = wave
    return padded
