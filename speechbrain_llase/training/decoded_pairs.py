"""Mixtures with what a model decodes of them, for a refiner to learn from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from speechbrain_llase.augment.target_mixtures import Pair
from speechbrain_llase.inference.interface import StagedInterface
from speechbrain_llase.nnet.fsq import (
    codes_to_levels,
    levels_to_codes,
    quantise,
)
from speechbrain_llase.processing.signal_processing import (
    fit_length,
    to_active_level,
)

HEARD, TARGET, DECODED, SPEECH = range(4)  # rows of a pair
BATCH = 8  # windows that are decoded at once
BETTER = 0.15  # share whose decoded wave comes of the right tokens
MOST_WRONG = 0.3  # share of these tokens
CODEC_LEVEL_DB = -26  # dBFS
LATE = 240  # samples that a damaged decoded wave is early or late
NEARLY = 160  # samples that a better one is
STRANGER = (800, 6400)  # samples of another's words in it
MOST_STRANGERS = 4  # of these, less one
HOLE = (1600, 9600)  # samples of a damage


def write_pairs(
    path: Path,
    draw: Callable[[np.random.Generator], Pair],
    number: int,
    model: StagedInterface,
    encoder: torch.nn.Module | None,
    seed: int,
) -> None:
    """Draw mixtures, decode them, and write all into one file.

    Arguments
    ---------
    path : Path
        An .npy file, float16 (number, 4, T): the mixture as the model hears
        it, the target at the same gain, the decoded wave, and the speech as it
        was recorded, with its own background, at that gain. It is there when
        it is whole.
    draw : callable
        Gives the pair of a generator of randomness, all of one length.
    number : int
        Of pairs; pair i depends on the seed and i alone.
    model : StagedInterface
        What decodes, on its device.
    encoder : torch.nn.Module, optional
        Of its codec: in a share of the pairs the decoded wave then comes of
        the right tokens, up to a third of them wrong, so that the refiner
        learns to take more from a better one and to distrust it all the same.
    seed : int
        Of all randomness.
    """
    partial = path.with_name(path.name + ".part")
    size = len(draw(np.random.default_rng([seed, 0])).heard)
    made = np.lib.format.open_memmap(
        partial, mode="w+", dtype=np.float16, shape=(number, 4, size)
    )
    with tqdm(total=number, unit="pair") as bar:
        for start in range(0, number, BATCH):
            indices = range(start, min(start + BATCH, number))
            pairs = [draw(np.random.default_rng([seed, k])) for k in indices]
            rng = np.random.default_rng([seed, start, 1])
            decoded = decode(model, encoder, pairs, rng)
            for k, pair, wave in zip(indices, pairs, decoded, strict=True):
                wave = fit_length(wave.float().cpu(), size)
                rows = [pair.heard, pair.target, wave, pair.recorded]
                made[k] = torch.stack(rows)
            bar.update(len(indices))
    made.flush()
    partial.replace(path)


@torch.no_grad()
def decode(
    model: StagedInterface,
    encoder: torch.nn.Module | None,
    pairs: list[Pair],
    rng: np.random.Generator,
) -> list[torch.Tensor]:
    """Decode what the model hears, or, in a share, nearly the right tokens."""
    stages = model.stages
    heard = [pair.heard.to(model.device) for pair in pairs]
    codes, _ = stages.score(stages.extract(heard))
    for index, pair in enumerate(pairs):
        if rng.random() < BETTER and encoder is not None:
            right = nearly_right(encoder, pair.clean, rng)
            codes[index] = right.to(codes[index])
    return stages.decode(codes)


def nearly_right(
    encoder: torch.nn.Module, clean: torch.Tensor, rng: np.random.Generator
) -> torch.Tensor:
    """Codes (N, 8) of clean speech (T,); half of the digits of some differ."""
    codes = encoder(to_active_level(clean, CODEC_LEVEL_DB)[None])
    levels = codes_to_levels(quantise(codes))[0]
    frames = rng.random((len(levels), 1)) < rng.uniform(0, MOST_WRONG)
    wrong = torch.from_numpy(frames & (rng.random(levels.shape) < 0.5))
    other = torch.from_numpy(rng.integers(0, 4, levels.shape))
    return levels_to_codes(torch.where(wrong, other, levels)).float()


class PairDataset(torch.utils.data.Dataset):
    """Crops of pairs; some of their decoded waves are replaced or damaged.

    Arguments
    ---------
    pairs : np.ndarray
        (number, 4, T): see `write_pairs`.
    num_samples, length, seed : int
        Of a crop; items an epoch; item i of every epoch is always the same.
    shares : dict
        "better", "swapped", "dropped", "damaged": of the decoded waves.
    jitter_db : float
        How far levels may be off, to both sides.
    """

    def __init__(
        self,
        pairs,
        num_samples,
        length,
        seed,
        shares=None,
        jitter_db=4.0,
    ):
        self.pairs, self.num_samples = pairs, num_samples
        self.length, self.seed = length, seed
        self.shares, self.jitter_db = shares or {}, jitter_db
        self.epoch = 0

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        waves = self._crop(rng)
        if rng.random() < self.shares.get("better", 0):
            waves[DECODED] = self.better(waves[TARGET], rng)
        waves[DECODED] = self.spoilt(waves[DECODED], rng)
        level = np.float32(10 ** (rng.uniform(-1, 1) * self.jitter_db / 20))
        waves[[HEARD, TARGET, SPEECH]] *= level
        return torch.from_numpy(waves)

    def _crop(self, rng):
        """A crop of a pair, float32 (4, num_samples)."""
        index = rng.integers(len(self.pairs))
        start = rng.integers(self.pairs.shape[2] - self.num_samples + 1)
        part = self.pairs[index, :, start : start + self.num_samples]
        return part.astype(np.float32)

    def better(self, target, rng):
        """As of a better decoder: coloured speech, here and there another's."""
        spectrum = np.fft.rfft(target)
        bins = np.linspace(0, 1, len(spectrum))
        knots = np.linspace(0, 1, 9)
        colour = np.interp(bins, knots, rng.uniform(-4, 4, len(knots)))
        wave = np.fft.irfft(spectrum * 10 ** (colour / 20), len(target))
        wave = (wave * 10 ** (rng.uniform(-10, 10) / 20)).astype(np.float32)
        for _ in range(rng.integers(MOST_STRANGERS)):
            start = rng.integers(self.num_samples - HOLE[0])
            part = slice(start, start + rng.integers(*STRANGER))
            wave[part] = self._crop(rng)[TARGET][part]
        return np.roll(wave, rng.integers(-NEARLY, NEARLY + 1))

    def spoilt(self, decoded, rng):
        """Damage a decoded wave, leave it out or take another's."""
        shares = self.shares
        if rng.random() < shares.get("damaged", 0):
            decoded = self._damaged(decoded, rng)
        drawn = rng.random() - shares.get("swapped", 0)
        if drawn < 0:
            return self._crop(rng)[DECODED]
        return decoded * (drawn >= shares.get("dropped", 0))

    def _damaged(self, decoded, rng):
        """A hole, another's words, another level, or early or late."""
        start = rng.integers(self.num_samples - HOLE[0])
        part = slice(start, start + rng.integers(*HOLE))
        kind = rng.integers(4)
        if kind == 0:
            decoded[part] = 0
        elif kind == 1:
            decoded[part] = self._crop(rng)[DECODED][part]
        elif kind == 2:
            decoded = np.roll(decoded, rng.integers(-LATE, LATE + 1))
        else:
            decoded[part] *= np.float32(10 ** (rng.uniform(-12, 6) / 20))
        return decoded
