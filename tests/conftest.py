"""Fixtures: a tiny model from the golden stand-in checkpoints; runs of it."""

import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parent / "golden"
sys.path[:0] = [str(GOLDEN), str(GOLDEN.with_name("helpers"))]
collect_ignore_glob = ["*conftest.py"]  # one name, several files: no doctests


def pytest_collection_modifyitems(items):
    """Skip tests that need the shared audio where it is not."""
    shared = Path(__file__).parents[1].parent / "shared"
    if shared.is_dir():
        return
    skip = pytest.mark.skip(reason=f"needs {shared}, which is not there")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def hears_ctrl_c() -> Iterator[None]:
    """SIGINT is heard, even where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
def official_files(tmp_path_factory, stand_in_files) -> Path:
    """Those, and the other official files with all that they hold."""
    import layouts

    folder = tmp_path_factory.mktemp("official")
    shutil.copytree(stand_in_files, folder, dirs_exist_ok=True)
    case = json.loads((GOLDEN / "tiny.json").read_text())
    layouts.write_layouts(folder, case)
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
def g1_arrays() -> dict[str, np.ndarray]:
    """The arrays of the case `g1_small`."""
    with np.load(GOLDEN / "g1_small.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def g1_files(tmp_path_factory) -> dict[str, Path]:
    """The official files of the case `g1_small`, by what they are."""
    import stand_in

    folder = tmp_path_factory.mktemp("g1_files")
    stand_in.write(json.loads((GOLDEN / "g1_small.json").read_text()), folder)
    return {
        "wavlm": folder / "WavLM-Large.pt",
        "lm": folder / "model.pt.tar",
        "codec": folder / "xcodec2.safetensors",
    }


@pytest.fixture(scope="session")
def g1_folder(tmp_path_factory, g1_files) -> Path:
    """The case `g1_small`, converted without loss."""
    from speechbrain_llase.pretrained.convert import convert

    folder = tmp_path_factory.mktemp("g1") / "small"
    convert(g1_files, folder, "float32", lm_heads=5, codec_heads=6)
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


@pytest.fixture
def hdfs(tmp_path) -> Iterator[str]:
    """URL of another system, that shares no path with this one."""
    pytest.importorskip("requests")
    from web_hdfs import serve

    folder = tmp_path / "behind_the_server"
    folder.mkdir()
    with serve(folder) as url:
        yield url


@pytest.fixture
def enhance(tiny_folder, monkeypatch, tmp_path) -> Callable[..., int]:
    """A function that runs the command with the tiny model."""
    monkeypatch.chdir(tmp_path)

    from speechbrain_llase.cli import main

    def run(*args: str) -> int:
        return main(
            ["enhance", *args, "--source", str(tiny_folder), "--device", "cpu"]
        )

    return run
