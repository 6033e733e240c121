"""LLaSE-G1 at the official dimensions, through files on disk.

Takes minutes, about 10 GB of memory and 12 GB of disk: run it by
`make test ARGS="-m slow -k full_size_g1 -s"`. The figures are printed.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import stand_in

from speechbrain_llase.cli.parser import main
from speechbrain_llase.pretrained.official import FILES, G1, WEIGHTS

pytestmark = [pytest.mark.slow, pytest.mark.shared]
SHARED = Path(__file__).parents[2].parent / "shared" / "golden"
SECONDS = 6
RUN = r"""
import pathlib, re, sys, time
import torch
from speechbrain_llase import LLaSEG1
torch.manual_seed(0)
start = time.perf_counter()
model = LLaSEG1.from_hparams(
    sys.argv[1],
    run_opts={"device": "cpu"},
    overrides={"compute": sys.argv[2]},
)
def tell(what, start):
    status = pathlib.Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1e6
    spent = time.process_time() - start
    print(f"{sys.argv[2]}, {what}: {spent:.1f} s of CPU, peak {peak:.2f} GB")
tell("loading", 0)
wav, other = 0.1 * torch.randn(2, 1, 16000 * int(sys.argv[3]))
for what, run in (
    ("se", lambda: model.enhance_batch(wav)),
    ("se, 2 passes", lambda: model.enhance_batch(wav, passes=2)),
    ("aec", lambda: model.cancel_echo_batch(wav, other)),
    ("tse", lambda: model.extract_batch(wav, other[:, :48000])),
    ("ss", lambda: model.separate_batch(wav)),
):
    start = time.process_time()
    out = run()
    tell(what, start)
    assert out.shape[:2] == wav.shape and out.isfinite().all()
    assert out.abs().max() > 0
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """The official files, of the case `g1_full` and of WavLM and Xcodec2."""
    folder = tmp_path_factory.mktemp("full_g1")
    spec = json.loads((SHARED / "full.json").read_text())
    parts = {part: spec["manifest"][part] for part in ("wavlm", "xcodec2")}
    stand_in.write({**spec, "manifest": {**parts, "lm": {}}}, folder)
    for name in ("best.pt.tar", "xcodec2.ckpt"):
        (folder / name).unlink()
    g1 = json.loads((SHARED / "g1_full.json").read_text())
    stand_in.write(g1, folder)
    return {
        "--wavlm": folder / "WavLM-Large.pt",
        "--lm": folder / "model.pt.tar",
        "--codec": folder / "xcodec2.safetensors",
    }


def test_full_size_g1(files, tmp_path, capsys):
    """Recognised, converted to 2.4 GB, and every task runs."""
    (official,) = (file for file in FILES if file.mark == G1)
    size = files["--lm"].stat().st_size
    assert not official.differs(size), size
    assert main(["doctor", str(files["--lm"])]) == 0
    said = capsys.readouterr().out
    used = re.search(r"token_lm .*: 153 tensors, ([\d.]+) M", said)
    assert float(used[1]) == round(WEIGHTS["multitask_lm"] / 1e6, 1)
    folder = tmp_path / "llase_g1"
    options = [str(x) for pair in files.items() for x in pair]
    start = time.perf_counter()
    assert main(["convert", *options, "--output", str(folder)]) == 0
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{time.perf_counter() - start:.0f} s, {size / 1e9:.3f} GB")
    assert 2.42e9 < size < 2.45e9
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    for compute in ("float32", "bfloat16"):
        run = [sys.executable, "-c", RUN, str(folder), compute, str(SECONDS)]
        subprocess.run(run, check=True, env=env)
