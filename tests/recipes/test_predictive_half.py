"""The recipe's predictive half: pairs, what spoils them, a tiny training."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

RECIPE = Path(__file__).parents[2] / "recipes/LibriSpeech/enhance/llase_mini"
RATE = 16000
SMALLER = {
    "window_length: 512": "window_length: 64",
    "channels: [24, 48, 64]": "channels: [4, 6, 8]",
    "band_size: 32": "band_size: 4",
    "time_size: 48": "time_size: 4",
    "full_size: 160": "full_size: 8",
    "full_channels: 6": "full_channels: 2",
    "warmup_steps: 200": "warmup_steps: 5",
}


@pytest.fixture
def recipe(monkeypatch):
    """The scripts of the recipe, importable."""
    monkeypatch.syspath_prepend(str(RECIPE))
    import train_spectral_refiner

    return train_spectral_refiner


def pairs(number: int) -> np.ndarray:
    """(number, 3, T): noise, nothing to find in it, and ones."""
    noise = np.random.default_rng(0).standard_normal((number, 3, RATE))
    noise[:, 1], noise[:, 2] = 0, 1
    return (0.1 * noise).astype(np.float16)


def test_decoded_waves_are_spoilt(recipe):
    """In the shares that are asked for; the others stay as they are."""

    def share(of, **shares):
        data = recipe.PairDataset(
            pairs(3), 12000, 200, 1, shares=shares, jitter_db=0.0
        )
        return np.mean([of(data[k][2]) for k in range(len(data))])

    def whole(wave):
        return bool(torch.allclose(wave, torch.full_like(wave, 0.1), atol=1e-3))

    def silent(wave):
        return not wave.any()

    assert share(whole) == 1
    assert 0.3 < share(silent, dropped=0.4) < 0.5
    assert share(whole, swapped=1.0) == 1
    assert 0.2 < share(whole, damaged=1.0) < 0.9


def test_items_are_the_same_again(recipe):
    """Item i of an epoch is always the same, and another in the next."""
    data = recipe.PairDataset(pairs(3), 8000, 9, 1)
    first = data[2]
    assert first.shape == (3, 8000) and torch.equal(first, data[2])
    data.epoch = 1
    assert not torch.equal(first, data[2])


def test_tiny_training(tmp_path):
    """It runs, lowers its loss, and keeps averaged weights."""
    for folder in ("clean/train", "noise/train", "rir"):
        (tmp_path / folder).mkdir(parents=True)
        wave = 0.1 * np.random.default_rng(2).standard_normal(2 * RATE)
        soundfile.write(tmp_path / folder / "x.flac", wave, RATE)
    for name, number in (("pairs", 8), ("valid", 2)):
        np.save(tmp_path / f"{name}.npy", pairs(number))
    yaml = (RECIPE / "hparams/spectral_refiner.yaml").read_text()
    for large, tiny in SMALLER.items():
        assert large in yaml
        yaml = yaml.replace(large, tiny)
    (tmp_path / "spectral_refiner.yaml").write_text(yaml)
    options = {
        "data_folder": tmp_path,
        "pairs": tmp_path / "pairs.npy",
        "valid_pairs": tmp_path / "valid.npy",
        "output_folder": tmp_path / "run",
        "number_of_epochs": 3,
        "crops_per_epoch": 64,
        "segment_s": 0.5,
        "device": "cpu",
    }
    given = [f"--{key}={value}" for key, value in options.items()]
    subprocess.run(
        [
            sys.executable,
            RECIPE / "train_spectral_refiner.py",
            "spectral_refiner.yaml",
            *given,
        ],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )
    log = (tmp_path / "run" / "train_log.txt").read_text()
    losses = [float(x) for x in re.findall(r"train loss: ([-\d.e]+)", log)]
    assert len(losses) == 3 and losses[-1] < losses[0]
    (kept,) = list((tmp_path / "run/save").glob("*/average.ckpt"))[-1:]
    weights = torch.load(kept, weights_only=True)
    assert all(x.isfinite().all() for x in weights.values())
