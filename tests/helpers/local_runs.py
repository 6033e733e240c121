"""Five small files, a model that copies, and the command on them."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from copier import Copier, describe_run

from speechbrain_llase.bulk import worker
from speechbrain_llase.bulk.records import read_records
from speechbrain_llase.cli import parser as cli

NAMES = ["a.wav", "b.wav", "1/c.wav", "1/d.wav", "2/e.wav"]
MANIFEST = Path("out/manifest.jsonl")


def make_inputs(folder, monkeypatch):
    """Write in/ and go there; give the list of models that get loaded."""
    monkeypatch.chdir(folder)
    for k, name in enumerate(NAMES):
        path = Path("in", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(k).uniform(-0.5, 0.5, 3000 + 100 * k)
        sf.write(path, noise, 16000)
    models = []

    def load_enhancer(batch_size, **_):
        models.append(Copier(window_batch=batch_size or 1))
        return models[-1]

    monkeypatch.setattr(worker, "load_enhancer", load_enhancer)
    monkeypatch.setattr(worker, "describe_run", describe_run)
    return models


def enhance(*options, output="out", inputs=("in",)):
    return cli.main(["enhance", *inputs, "--output", output, *options])


def records(path=MANIFEST):
    """Records by output; one line each."""
    found = list(read_records(path))
    assert len({record.output for record in found}) == len(found)
    return {record.output: record for record in found}


def contents(folder="out"):
    """What lies below a folder, hidden files too; bytes by name."""
    found = (p for p in Path(folder).rglob("*") if p.is_file())
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}
    return {n: x for n, x in files.items() if not n.startswith("manifest")}


class Killed(BaseException):
    """Stands for the end of a process: nothing is tidied up after it."""


def release_locks():
    """Close what a killed process would have lost: open lock files."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not list open files")
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").endswith(".lock"):
                os.close(int(name))
