"""Noisy training mixtures of clean speech, noise and rooms, on the fly.

`mix` is the arithmetic of one mixture, `MixtureSampler` draws what goes into
it, `MixtureDataset` numbers the draws. Nothing here reads a file but
`load_folder`.

Authors
 * The speechbrain_llase contributors 2026
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from speechbrain.dataio import audio_io

from speechbrain_llase.augment.mixture import (
    Mixture,
    mix,
    to_wave,
    vary,
    with_fault,
)
from speechbrain_llase.augment.synthetic_noise import (
    NOISE_KINDS,
    synthesise_noise,
    synthesise_rir,
)
from speechbrain_llase.processing.signal_processing import power

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
_SHORTEST_S = 0.1  # of an utterance
_DRAWS = 10  # of a crop, before the loudest place is taken
_SUFFIXES = {".flac", ".mp3", ".ogg", ".opus", ".wav"}


class MixtureSampler:
    """Draws mixtures: who speaks, in which noise, room, ratio and level.

    Arguments
    ---------
    clean : list
        Utterances, (T,) floating tensors or arrays each of a speaker of its
        own (babble takes other items of this list). One that is shorter than
        a segment is put at a random place between zeros.
    noises : list
        Recordings, (T,) floating; short ones are repeated.
    rirs : list
        Recorded room responses, (R,) floating; may be empty.
    segment_s : float
        Length of a mixture in seconds.
    sample_rate : int
        In Hz, of everything.
    snr_db, level_db : tuple
        Lowest and highest ratio in dB and RMS of the noisy signal in dBFS.
    rir_prob : float
        Share of mixtures in a room.
    recorded_rir_prob : float
        Share of the rooms that come from `rirs` (0 where that is empty); the
        others are synthesised.
    rt60_s : tuple
        Shortest and longest reverberation time of synthesised rooms in s.
    synthetic_prob, babble_prob : float
        Share of noises that are synthesised, and that are the sum of three to
        seven other utterances; the others come from `noises`.
    two_noise_prob : float
        Share of mixtures with a second noise, 0 to 10 dB below the first.
    speed, noise_speed : tuple
        Lowest and highest factor of playback speed (and pitch).
    eq_db : float
        Largest gain of the random tilt and of the random peak that colour
        speech (and target) and noise; 0 leaves the spectrum alone.
    fault_prob : float
        Share of mixtures whose noisy signal alone is clipped or low-passed.

    Raises
    ------
    ValueError
        If a list is empty that is needed, a signal is not 1-D, floating,
        finite and audible, or a range or share is impossible.

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
        clean: list,
        noises: list,
        rirs: list,
        segment_s: float,
        *,
        sample_rate: int = 16000,
        snr_db: tuple[float, float] = (-5.0, 20.0),
        level_db: tuple[float, float] = (-38.0, -18.0),
        rir_prob: float = 0.4,
        recorded_rir_prob: float = 0.2,
        rt60_s: tuple[float, float] = (0.1, 0.8),
        synthetic_prob: float = 0.4,
        babble_prob: float = 0.0,
        two_noise_prob: float = 0.2,
        speed: tuple[float, float] = (0.9, 1.1),
        noise_speed: tuple[float, float] = (0.7, 1.4),
        eq_db: float = 6.0,
        fault_prob: float = 0.0,
    ):
        self.clean = _waves(clean, "clean")
        self.noises = _waves(noises, "noises")
        self.rirs = _waves(rirs, "rirs")
        self.num_samples = round(segment_s * sample_rate)
        self.sample_rate = sample_rate
        self.snr_db = _range(snr_db, "snr_db")
        self.level_db = _range(level_db, "level_db")
        self.rt60_s = _range(rt60_s, "rt60_s", above=0.01)
        self.speed = _range(speed, "speed", above=0)
        self.noise_speed = _range(noise_speed, "noise_speed", above=0)
        self.rir_prob = _share(rir_prob, "rir_prob")
        share = _share(recorded_rir_prob, "recorded_rir_prob")
        self.recorded_rir_prob = share if self.rirs else 0.0
        self.synthetic_prob = _share(synthetic_prob, "synthetic_prob")
        self.babble_prob = _share(babble_prob, "babble_prob")
        self.two_noise_prob = _share(two_noise_prob, "two_noise_prob")
        self.fault_prob = _share(fault_prob, "fault_prob")
        self.eq_db = _range((0, eq_db), "eq_db")[1]
        self._check_lists()

    def _check_lists(self):
        """Refuse settings for which something to draw from is missing."""
        if self.num_samples < 1:
            raise ValueError("segment_s is below one sample; make it longer.")
        if not self.clean:
            raise ValueError("clean is an empty list; give utterances.")
        made = self.synthetic_prob + self.babble_prob
        if made > 1 + 1e-9:
            raise ValueError(
                f"synthetic_prob and babble_prob add to {made}; at most 1."
            )
        if not self.noises and made < 1 - 1e-9:
            raise ValueError(
                "noises is an empty list; give recordings, or let "
                "synthetic_prob and babble_prob add to 1."
            )
        if self.babble_prob and len(self.clean) < 2:
            raise ValueError("Babble needs at least two items in clean.")
        shortest = min(wave.size for wave in self.clean)
        if shortest < _SHORTEST_S * self.sample_rate:
            raise ValueError(
                f"An utterance in clean has {shortest} samples; leave out "
                f"those below {_SHORTEST_S} s."
            )

    def sample(self, rng: np.random.Generator) -> Mixture:
        """Draw one mixture.

        Arguments
        ---------
        rng : np.random.Generator
            Source of all randomness.

        Returns
        -------
        mixture : Mixture
            Signals of (round(segment_s * sample_rate),) samples.
        """
        speaker = int(rng.integers(len(self.clean)))
        speech = self._speech(speaker, rng)
        noise, kind = self._noise(speaker, rng)
        if rng.random() < self.two_noise_prob:
            second, second_kind = self._noise(speaker, rng)
            below = 10 ** (-rng.uniform(0, 10) / 20)
            ratio = np.sqrt(power(noise) / power(second))
            noise = noise + np.float32(below * ratio) * second
            kind = f"{kind}+{second_kind}"
        mixture = mix(
            speech,
            noise,
            rng.uniform(*self.snr_db),
            rng.uniform(*self.level_db),
            self._rir(rng) if rng.random() < self.rir_prob else None,
            kind,
        )
        if rng.random() < self.fault_prob:
            mixture = with_fault(mixture, self.sample_rate, rng)
        return mixture

    def _speech(self, speaker, rng):
        """A crop of one utterance, in random speed and colour."""
        wave = self.clean[speaker]
        return self._vary(partial(_crop, wave, 0.1, rng), self.speed, rng)

    def _noise(self, speaker, rng):
        """One noise, in random speed and colour, and its name."""
        drawn = rng.random() if self.noises else 0.0
        made = self.babble_prob + self.synthetic_prob
        if drawn < made and rng.random() * made < self.babble_prob:
            kind, draw = "babble", partial(self._babble, speaker, rng)
        elif drawn < made:
            kind = str(rng.choice(NOISE_KINDS))
            draw = partial(self._synthesised, kind, rng)
        else:
            kind, wave = "recorded", self.noises[rng.integers(len(self.noises))]
            draw = partial(_crop_repeated, wave, 0.01, rng)
        return self._vary(draw, self.noise_speed, rng), kind

    def _babble(self, speaker, rng, size):
        """Three to seven others talking at once, each at the same power."""
        count = min(int(rng.integers(3, 8)), len(self.clean) - 1)
        total = np.zeros(size, dtype=np.float32)
        for other in rng.choice(len(self.clean) - 1, count, replace=False):
            wave = self.clean[other + (other >= speaker)]
            piece = _crop_repeated(wave, 0.1, rng, size)
            total += piece / np.float32(np.sqrt(power(piece)))
        return total

    def _synthesised(self, kind, rng, size):
        """A noise of the given kind."""
        return synthesise_noise(kind, size, self.sample_rate, rng)

    def _vary(self, draw, speed, rng):
        """Speed and colour at this sampler's length, rate and gain."""
        return vary(
            draw, self.num_samples, self.sample_rate, speed, self.eq_db, rng
        )

    def _rir(self, rng):
        """One room response, recorded or synthesised."""
        if rng.random() < self.recorded_rir_prob:
            return self.rirs[rng.integers(len(self.rirs))]
        rt60_s = rng.uniform(*self.rt60_s)
        return synthesise_rir(rt60_s, self.sample_rate, rng)


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
        """Choose which epoch's items are given from now on.

        Arguments
        ---------
        epoch : int
            Not negative.
        """
        if epoch < 0:
            raise ValueError(f"epoch is {epoch}; it must be at least 0.")
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Items in an epoch."""
        return self.length

    def __getitem__(self, index: int) -> dict:
        """Make one item.

        Arguments
        ---------
        index : int
            From 0 to length - 1.

        Returns
        -------
        item : dict
            id (str), noisy and clean ((T,) float32 tensors), snr_db (float).
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


def load_folder(path: str | Path, sample_rate: int) -> list[torch.Tensor]:
    """Read all audio below a folder, in the order of its sorted paths.

    Arguments
    ---------
    path : str or Path
        Folder with .flac, .mp3, .ogg, .opus or .wav files at any depth; other
        files are left alone.
    sample_rate : int
        The rate that every file must have, in Hz.

    Returns
    -------
    waves : list
        (T,) float32 tensors.

    Raises
    ------
    ValueError
        If the folder holds no audio, or a file has another rate or several
        channels.
    """
    files = sorted(
        file
        for file in Path(path).rglob("*")
        if file.suffix.lower() in _SUFFIXES and file.is_file()
    )
    if not files:
        raise ValueError(
            f"There is no audio ({', '.join(sorted(_SUFFIXES))}) below {path}."
        )
    waves = []
    for file in files:
        wave, rate = audio_io.load(file)
        if rate != sample_rate or wave.shape[0] != 1:
            raise ValueError(
                f"{file} has {rate} Hz and {wave.shape[0]} channel(s); convert "
                f"it to {sample_rate} Hz and one channel."
            )
        waves.append(wave[0])
    return waves


def _crop(wave, least, rng, size):
    """Cut `size` samples that hold at least a share of the mean power.

    It is their middle three quarters that must hold it, as `vary` cuts the
    ends. A wave that is shorter is put at a random place between zeros.
    """
    spare = wave.size - size
    if spare <= 0:
        padded = np.zeros(size, dtype=np.float32)
        start = int(rng.integers(1 - spare))
        padded[start : start + wave.size] = wave
        return padded
    wanted = least * power(wave)
    for _ in range(_DRAWS):
        start = int(rng.integers(spare + 1))
        middle = slice(start + size // 8, start + size - size // 8)
        if power(wave[middle]) >= wanted:
            return wave[start : start + size]
    start = min(max(int(np.argmax(np.abs(wave))) - size // 2, 0), spare)
    return wave[start : start + size]


def _crop_repeated(wave, least, rng, size):
    """Like `_crop`, but a wave that is shorter is repeated."""
    if wave.size < size:
        wave = np.tile(wave, -(-size // wave.size) + 1)
    return _crop(wave, least, rng, size)


def _waves(waves, name):
    """Check every signal of a list."""
    return [to_wave(wave, f"{name}[{i}]") for i, wave in enumerate(waves)]


def _range(pair, name, above=-np.inf):
    """Check (low, high) and give it as two floats."""
    low, high = (float(bound) for bound in pair)
    if not (above < low <= high < np.inf):
        raise ValueError(
            f"{name} is {low} to {high}; give (low, high) with low <= high"
            + (f", both over {above}." if above > -np.inf else ".")
        )
    return low, high


def _share(share, name):
    """Check a probability."""
    if not 0 <= share <= 1:
        raise ValueError(f"{name} is {share}; give a share from 0 to 1.")
    return float(share)


def mixture_datasets(hparams: dict) -> list[MixtureDataset]:
    """Make the mixtures of training and of validation, as a recipe wants them.

    Arguments
    ---------
    hparams : dict
        data_folder, which holds `clean/{train,valid}`, `noise/{train,valid}`
        and `rir`; sample_rate, mixtures (of `MixtureSampler`),
        mixtures_per_epoch, valid_mixtures and seed.

    Returns
    -------
    datasets : list of MixtureDataset
        Of training and of validation.
    """
    datasets = []
    folder, rate = hparams["data_folder"], hparams["sample_rate"]
    for part, count, seed in (
        ("train", hparams["mixtures_per_epoch"], hparams["seed"]),
        ("valid", hparams["valid_mixtures"], 0),
    ):
        sampler = MixtureSampler(
            load_folder(f"{folder}/clean/{part}", rate),
            load_folder(f"{folder}/noise/{part}", rate),
            load_folder(f"{folder}/rir", rate),
            **hparams["mixtures"],
        )
        datasets.append(MixtureDataset(sampler, count, seed))
    return datasets
