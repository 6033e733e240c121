"""Fixtures: a tiny model from the golden stand-in checkpoints."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))


def pytest_collection_modifyitems(items):
    """Skip tests that need the shared audio where it is not."""
    shared = Path(__file__).parents[1].parent / "shared"
    if shared.is_dir():
        return
    skip = pytest.mark.skip(reason=f"needs {shared}, which is not there")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def golden() -> dict[str, np.ndarray]:
    """The arrays of the case `tiny`."""
    with np.load(GOLDEN / "tiny.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def stand_in_files(tmp_path_factory) -> Path:
    """The official files of the case `tiny`, under their official names."""
    import stand_in

    folder = tmp_path_factory.mktemp("stand_in")
    stand_in.write(json.loads((GOLDEN / "tiny.json").read_text()), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, stand_in_files) -> Path:
    """A model folder of the case `tiny`, official files under our names."""
    folder = tmp_path_factory.mktemp("tiny")
    shutil.copy(GOLDEN / "hyperparams.yaml", folder)
    for name, official in (
        ("frontend", "WavLM-Large.pt"),
        ("token_lm", "best.pt.tar"),
        ("vocoder", "xcodec2.ckpt"),
    ):
        shutil.copy(stand_in_files / official, folder / f"{name}.ckpt")
    return folder


@pytest.fixture(scope="session")
def load_tiny(tiny_folder):
    """A function that loads the tiny model with other settings."""
    from speechbrain_llase import EnhanceLLaSE

    def load(**overrides):
        return EnhanceLLaSE.from_hparams(
            tiny_folder, overrides=overrides, run_opts={"device": "cpu"}
        )

    return load


@pytest.fixture(scope="session")
def tiny(load_tiny):
    """The tiny model with the released settings; do not change it."""
    return load_tiny()


@pytest.fixture
def speech_like() -> torch.Tensor:
    """Two seconds of bursts of noise (32000,), seeded, peak 0.5."""
    rng = torch.Generator().manual_seed(0)
    bursts = torch.sin(torch.linspace(0, 25, 32000)).clamp(min=0)
    wav = bursts * torch.randn(32000, generator=rng)
    return 0.5 * wav / wav.abs().max()
