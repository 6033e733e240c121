"""`evaluate --asr`: SpeechBrain models from folders, from end to end."""

import csv
import json

import numpy as np
import soundfile
import torch

from speechbrain_llase.cli.parser import main
from speechbrain_llase.metrics import WordDifference, normalise_words

RATE = 16000


def test_the_chain_is_printed(
    asr_folder, speaker_folder, load_asr, tmp_path, capsys
):
    rng = np.random.default_rng(0)
    waves = {"noisy": 0.1 * rng.standard_normal(RATE).astype("f4")}
    waves["enhanced"] = waves["noisy"] * np.linspace(0.2, 1, RATE, dtype="f4")
    for row, wave in waves.items():
        (tmp_path / row).mkdir()
        soundfile.write(tmp_path / row / "a.wav", wave, RATE, subtype="FLOAT")
    (tmp_path / "text").write_text("a a bad cab\n")
    given = [
        *("--noisy", tmp_path / "noisy", "--enhanced", tmp_path / "enhanced"),
        *("--text", tmp_path / "text", "--output", tmp_path / "out"),
        *("--asr", asr_folder, "--speaker", speaker_folder),
        *("--cache", tmp_path / "readings", "--without", "dnsmos"),
    ]
    assert main(["evaluate", *map(str, given)]) == 0
    assert "| WER |" in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    read = {}
    for row, wave in waves.items():
        (text,), _ = load_asr().transcribe_batch(
            torch.from_numpy(wave)[None], torch.ones(1)
        )
        read[row] = normalise_words(text)
        expected = WordDifference.compare(read[row], ["a", "bad", "cab"])
        found = summary["summary"][row]["WER"]["mean"]
        assert abs(found - expected.rate) < 1e-4
    edits = WordDifference.compare(read["enhanced"], read["noisy"])
    assert edits.edits > 0
    found = summary["summary"]["enhanced"]["dWER"]["mean"]
    assert abs(found - edits.rate) < 1e-4
    with (tmp_path / "out" / "scores.csv").open() as file:
        lines = {line["row"]: line for line in csv.DictReader(file)}
    assert abs(float(lines["noisy"]["speaker"]) - 1) < 1e-4
    assert float(lines["enhanced"]["speaker"]) < 1
    assert len(list((tmp_path / "readings").iterdir())) == 2
