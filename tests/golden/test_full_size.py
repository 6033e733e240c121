"""The released code at the official dimensions, through files on disk.

Takes minutes, about 12 GB of memory and 20 GB of disk: run it by
`make test ARGS="-m slow -k full_size -s"`. The figures are printed.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import hub_server
import layouts
import numpy as np
import pytest
import stand_in
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.cli.parser import main
from speechbrain_llase.lobes.xcodec2_tokenizer import load_tokenizer
from speechbrain_llase.pretrained.convert import convert
from speechbrain_llase.pretrained.download import (
    BESIDE_WEIGHTS,
    ENCODER_WEIGHTS,
)
from speechbrain_llase.pretrained.official import MODELS

pytestmark = [pytest.mark.slow, pytest.mark.shared]
SHARED = Path(__file__).parents[2].parent / "shared" / "golden"
LOAD = r"""
import pathlib, re, sys, time
from speechbrain_llase import EnhanceLLaSE
start = time.perf_counter()
EnhanceLLaSE.from_hparams(
    sys.argv[1],
    run_opts={"device": "cpu"},
    overrides={"compute": sys.argv[2]},
)
spent = time.perf_counter() - start
status = pathlib.Path("/proc/self/status").read_text()
peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1e6
print(f"loading, {sys.argv[2]}: {spent:.1f} s, peak {peak:.2f} GB")
assert peak < 6, "more is read than enhancement uses"
"""


@pytest.fixture(scope="module")
def full() -> dict[str, np.ndarray]:
    """The arrays of the case `full`."""
    with np.load(SHARED / "full.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """The official files of the case `full`, as the hub has them."""
    folder = tmp_path_factory.mktemp("full")
    spec = json.loads((SHARED / "full.json").read_text())
    stand_in.write(spec, folder)
    (folder / "xcodec2.safetensors").unlink()
    layouts.write_transformers(folder, spec)
    for name in ("WavLM-Large.pt", "xcodec2.ckpt", "w2v_bert.safetensors"):
        (folder / name).unlink()
    layouts.write_lm(folder)
    return {
        "wavlm": folder / "pytorch_model.bin",
        "lm": folder / "best.pt.tar",
        "codec": folder / "xcodec2-hf.safetensors",
    }


def test_sizes(files, capsys):
    """Every file has the size that the official one has; it is recognised."""
    for source in MODELS["llase"]:
        size = files[source.part].stat().st_size
        assert abs(size - source.size) < 2e-4 * source.size
        print(f"{source}: {size:,} bytes, published {source.size:,}")
        assert main(["doctor", str(files[source.part])]) == 0
        said = capsys.readouterr().out
        assert f"has the tensors of {source}" in said
        print(said)


@torch.no_grad()
def test_full_size(files, full, tmp_path):
    """By download: every token, features 1e-4, wave 1e-5."""
    noisy = torch.from_numpy(full["noisy"]).float()[None] / 32768
    folder = tmp_path / "float32"
    on_hub = {str(s): files[s.part] for s in MODELS["llase"]}
    command = ["download", "llase", "--output", str(folder), "--encoder"]
    command += ["--dtype", "float32", "--accept-licences"]
    with hub_server.serve(on_hub) as hub:
        assert main([*command, "--endpoint", hub.endpoint]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["float32"]
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"folder: {size / 1e9:.3f} GB")
    assert size < (547_370_514 + ENCODER_WEIGHTS) * 4 + BESIDE_WEIGHTS
    model = EnhanceLLaSE.from_hparams(
        folder,
        run_opts={"device": "cpu"},
        overrides={"restore_level": False, "window_s": 30.0},
    )
    feats = model.mods.frontend(noisy / noisy.abs().max())
    difference = torch.from_numpy(full["features"]) - feats[0, ::10]
    print(f"\nfeatures: {difference.abs().max():.1e}")
    assert difference.abs().max() < 1e-4
    tokens = model.predict_tokens(noisy)[0]
    assert tokens.tolist() == full["tokens"].tolist()
    expected = torch.from_numpy(full["enhanced"])
    wave = model.mods.vocoder(tokens[None])[0]
    print(
        f"tokens: all {len(tokens)}; wave: {(wave - expected).abs().max():.1e}"
    )
    assert (wave - expected).abs().max() < 1e-5
    del model
    codec_tokens = load_tokenizer(str(folder)).encode(noisy)[0]
    assert codec_tokens.tolist() == full["codec_tokens"].tolist()
    print(f"codec tokens: all {len(codec_tokens)}")


@torch.no_grad()
def test_full_size_in_bfloat16(files, full, tmp_path):
    """How many tokens stay, how far the wave moves, what loading costs."""
    folder = tmp_path / "bfloat16"
    convert(files, folder, "bfloat16")
    noisy = torch.from_numpy(full["noisy"]).float()[None] / 32768
    print()
    settings = {"restore_level": False, "window_s": 30.0}
    for compute in ("float32", "bfloat16", "int8"):
        model = EnhanceLLaSE.from_hparams(
            folder,
            run_opts={"device": "cpu"},
            overrides={**settings, "compute": compute},
        )
        start = time.perf_counter()
        tokens = model.predict_tokens(noisy)[0]
        spent = time.perf_counter() - start
        same = tokens == torch.from_numpy(full["tokens"])
        wave = model.mods.vocoder(torch.from_numpy(full["tokens"]).long()[None])
        expected = torch.from_numpy(full["enhanced"])
        error = expected.square().mean() / (wave[0] - expected).square().mean()
        print(
            f"bfloat16 folder, compute {compute}: {same.float().mean():.1%}"
            f" of tokens, wave SNR {10 * torch.log10(error):.1f} dB, "
            f"{spent:.1f} s for frontend and LM"
        )
        del model
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    for compute in ("float32", "bfloat16"):
        loading = [sys.executable, "-c", LOAD, str(folder), compute]
        subprocess.run(loading, check=True, env=env)
    size = sum(path.stat().st_size for path in folder.glob("*.ckpt"))
    print(f"folder: {size / 1e9:.2f} GB")
