"""What the wide runs of the recipe learn from, and what they never hear.

`clean/train`, `noise/train` and `rir` of the data folder, and the same of its
`more`, and `clean/train` of its `synthetic` (synthesise_voices.py), without the
development set: speakers, recordings and rooms that development.json names.
Utterances of LibriSpeech, which are three times as long as the others, are
drawn three times as often, and long recordings of noise oftener than clips of
five seconds. Rooms stand three times: as recorded, and with 5 and 10 dB less
reverberation, as for nearer talkers.
"""

import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from speechbrain_llase.augment.mixture_dataset import (
    MixtureDataset,
    MixtureSampler,
)
from speechbrain_llase.processing.framing import SAMPLE_RATE

KINDS = {
    "clean": ("clean/train", "more/clean/train", "synthetic/clean/train"),
    "noise": ("noise/train", "more/noise/train"),
    "rir": ("rir", "more/rir/train"),
}
DEVELOPMENT = "development.json"
REPEATS = 3  # of LibriSpeech's utterances
SHORT_NOISE = 5 * SAMPLE_RATE  # samples
TAILS_DB = (0, -5, -10)  # of the reverberation
DIRECT = 40  # samples after the peak of a response that are direct sound


def read_lists(
    data_folder: str, part: str, development: str = DEVELOPMENT
) -> dict[str, list[str]]:
    """Name the files of "train" or of "dev", below the data folder.

    `development` names those of "dev", from this file's folder on.
    """
    path = Path(__file__).parent / development
    held_out = json.loads(path.read_text("utf-8"))
    if part == "dev":
        return held_out
    data = Path(data_folder)
    return {
        kind: [
            name
            for folder in folders
            for file in sorted((data / folder).glob("*.flac"))
            if (name := file.relative_to(data).as_posix()) not in held_out[kind]
        ]
        for kind, folders in KINDS.items()
    }


def read_waves(
    data_folder: str, part: str, development: str = DEVELOPMENT
) -> dict[str, list[torch.Tensor]]:
    """Read what `MixtureSampler` draws from: clean, noises and rirs."""
    names = read_lists(data_folder, part, development)
    waves = {
        kind: [read(Path(data_folder, name)) for name in files]
        for kind, files in names.items()
    }
    clean, noises = waves["clean"], waves["noise"]
    if part == "train":
        long = [n.startswith("clean/train") for n in names["clean"]]
        clean = [
            wave
            for wave, often in zip(clean, long, strict=True)
            for _ in range(REPEATS if often else 1)
        ]
        noises = [
            wave
            for wave in noises
            for _ in range(max(1, round((len(wave) / SHORT_NOISE) ** 0.5)))
        ]
    rirs = [
        nearer(rir, tail_db) for rir in waves["rir"] for tail_db in TAILS_DB
    ]
    return {"clean": clean, "noises": noises, "rirs": rirs}


def nearer(rir: torch.Tensor, tail_db: float) -> torch.Tensor:
    """Change how loud a room is behind the direct sound."""
    gain = torch.ones_like(rir)
    gain[int(rir.abs().argmax()) + DIRECT :] = 10 ** (tail_db / 20)
    return rir * gain


def wide_datasets(hparams: dict) -> list[MixtureDataset]:
    """Mixtures of training and of the development set, for the token LM.

    Arguments
    ---------
    hparams : dict
        data_folder, development, mixtures (settings of `MixtureSampler`),
        mixtures_per_epoch, valid_mixtures and seed.

    Returns
    -------
    datasets : list of MixtureDataset
    """
    datasets = []
    for part, count, seed in (
        ("train", hparams["mixtures_per_epoch"], hparams["seed"]),
        ("dev", hparams["valid_mixtures"], 0),
    ):
        waves = read_waves(hparams["data_folder"], part, hparams["development"])
        sampler = MixtureSampler(**waves, **hparams["mixtures"])
        datasets.append(MixtureDataset(sampler, count, seed))
    return datasets


def read(file: Path) -> torch.Tensor:
    """Read (T,) at 16 kHz, one channel."""
    wave, rate = soundfile.read(file, dtype="float32")
    if rate != SAMPLE_RATE or wave.ndim != 1:
        raise ValueError(f"{file} is not mono at {SAMPLE_RATE} Hz; convert it.")
    return torch.from_numpy(np.ascontiguousarray(wave))
