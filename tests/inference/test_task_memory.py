"""An hour of every task in the memory of two minutes.

What is measured lies around the networks, so cheap ones stand in their place.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase import LLaSEG1
from speechbrain_llase.inference.multitask import TASKS
from speechbrain_llase.lobes.multitask_lm import MultitaskLM
from speechbrain_llase.nnet.fsq import VOCAB_SIZE

RATE, WIDTH = 16000, 16
CLEAR = Path("/proc/self/clear_refs")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CLEAR.exists(), reason="Linux counts peak memory"),
]


class Samples(torch.nn.Module):
    """A frontend: every 25th sample of a frame."""

    zero_row = False

    def extract_each(self, wavs, least=0):
        return [wav.unfold(0, 400, 320)[:, ::25] for wav in wavs]


class Steps(torch.nn.Module):
    """A vocoder: a token is a level, plus a click."""

    def decode_each(self, codes):
        levels = [c.float() / VOCAB_SIZE - 0.4 for c in codes]
        waves = [level.repeat_interleave(320) for level in levels]
        for wav in waves:
            wav[::320] += 0.3
        return waves


@pytest.fixture(scope="module")
def model(g1_folder):
    """LLaSEG1 as loaded, with other networks."""
    found = LLaSEG1.from_hparams(g1_folder, run_opts={"device": "cpu"})
    torch.manual_seed(0)
    lm = MultitaskLM(WIDTH, 8, 1, 2, 16, head="digits")
    lm = lm.eval().requires_grad_(False)
    mods = {"frontend": Samples(), "token_lm": lm, "vocoder": Steps()}
    found.mods.update(mods)
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Noise in bursts: two files of two minutes, two of an hour."""
    folder = tmp_path_factory.mktemp("hour")
    rng, made = np.random.default_rng(0), {}
    minute = rng.normal(0, 0.1, (2, 60 * RATE)).astype("f4")
    minute[:, ::7] = 0
    for minutes in (2, 60):
        made[minutes] = [folder / f"{minutes}-{k}.wav" for k in range(2)]
        for path, wav in zip(made[minutes], minute, strict=True):
            with soundfile.SoundFile(path, "w", RATE, 1) as file:
                for k in range(minutes):
                    file.write(np.roll(wav, 999 * k))
    return made


def peak_mb():
    """The most memory since the last look, in MB."""
    status = Path("/proc/self/status").read_text()
    CLEAR.write_text("5")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1e3


@pytest.mark.parametrize("task", TASKS)
def test_an_hour_is_flat(model, files, tmp_path, task):
    """Within 40 MB, of the 230 MB that a wave of an hour takes."""
    outputs, peaks = [tmp_path / f"{k}.wav" for k in (1, 2)], {}
    for minutes, (path, other) in files.items():
        peak_mb()
        if task == "ss":
            model.separate_file(path, outputs)
        else:
            heard = [str(other)] if TASKS[task].reference else []
            bound = model.doing(task, heard, peak_normalised=True)
            bound.stream_file(path, outputs[0])
            outputs = outputs[:1]
        peaks[minutes] = peak_mb()
        for output in outputs:
            assert soundfile.info(output).frames == minutes * 60 * RATE
    print(f"{task}: {peaks[2]:.0f} MB of 2 min, {peaks[60]:.0f} MB of 60")
    assert peaks[60] < peaks[2] + 40
