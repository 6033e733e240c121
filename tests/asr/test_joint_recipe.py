"""The recipe that puts an enhancer before a recogniser."""

import csv
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

RECIPE = Path(__file__).parents[2] / "recipes/RescueSpeech/ASR/llase"


@pytest.fixture
def run(asr_folder, tiny_folder, tmp_path, monkeypatch):
    """A function that runs the recipe on three noisy clips."""
    rng = np.random.default_rng(0)
    rows = [["ID", "duration", "clean_wav", "noisy_wav", "wrd"]]
    for k in range(3):
        clean = 0.1 * rng.standard_normal(16000 + 1000 * k)
        for kind, wave in (("clean", clean), ("noisy", clean + clean[::-1])):
            soundfile.write(tmp_path / f"{kind}{k}.wav", wave, 16000)
        names = [f"$data_root/{kind}{k}.wav" for kind in ("clean", "noisy")]
        rows.append([f"clip{k}", "1.0", *names, "a fig hid"])
    with open(tmp_path / "test.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    monkeypatch.chdir(tmp_path)

    def run(*more: str) -> Path:
        argv = [str(RECIPE / "evaluate.py")]
        argv += [str(RECIPE / "hparams/evaluate.yaml"), "--test_csv=test.csv"]
        argv += [f"--data_root={tmp_path}", "--device=cpu", "--noprogressbar"]
        argv += [f"--enhancer={{source: {tiny_folder}}}"]
        argv += [f"--asr={{source: {asr_folder}}}", *more]
        monkeypatch.setattr(sys, "argv", argv)
        runpy.run_path(argv[0], run_name="__main__")
        return tmp_path / "results/evaluate"

    return run


def test_word_errors_of_every_row(run, capsys):
    """Noisy, enhanced and clean are read, each its own wave."""
    folder = run("--batch_size=2")
    results = json.loads((folder / "results.json").read_text())
    assert results.keys() == {"noisy", "enhanced", "clean"}
    assert all(row["num_scored_tokens"] == 9 for row in results.values())
    assert "enhanced: " in capsys.readouterr().out
    texts = {row: (folder / f"wer_{row}.txt").read_text() for row in results}
    assert all(text.count("clip") == 3 for text in texts.values())
    assert len(set(texts.values())) == 3


def test_list_without_clean_speech(run):
    """Then two rows are left."""
    folder = run("--columns={clean: null}")
    results = json.loads((folder / "results.json").read_text())
    assert results.keys() == {"noisy", "enhanced"}
