"""The pairs that the recipe's predictive half learns from."""

from pathlib import Path

import numpy as np
import pytest
import torch

RECIPE = Path(__file__).parents[2] / "recipes/LibriSpeech/enhance/llase_mini"
RATE = 16000


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
