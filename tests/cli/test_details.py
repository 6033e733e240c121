"""--guard and --details: what is loaded, written and said."""

import json
import sys

import numpy as np
import pytest
import soundfile as sf
import torch
from copier import Copier, describe_run

from speechbrain_llase.bulk import worker
from speechbrain_llase.cli import parser as cli
from speechbrain_llase.inference import reports
from speechbrain_llase.inference.confidence import measure_logits
from speechbrain_llase.inference.guard import Decision
from speechbrain_llase.inference.reports import Report


def report_file(enhancer, path, **_):
    """Halve a file and report; the guard holds quiet ones back."""
    wav, _ = sf.read(path, dtype="float32")
    details = measure_logits(torch.zeros(3, 8, 4), torch.tensor([1, 2, 3]))
    reasons = ("words",) if np.abs(wav).max() < 0.1 else ()
    decision = Decision(0, len(wav), 0.0 if reasons else 1.0, reasons)
    decisions = (decision,) if enhancer.is_watched else ()
    return torch.from_numpy(wav / 2), Report(details, decisions)


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Two files, and what the model is loaded with."""
    calls = []

    class EnhanceLLaSE:
        @staticmethod
        def from_hparams(**kwargs):
            calls.append(kwargs["overrides"])
            return Copier("guard" in kwargs["overrides"])

    package = vars(sys.modules["speechbrain_llase"])
    monkeypatch.setitem(package, "EnhanceLLaSE", EnhanceLLaSE)
    monkeypatch.setattr(worker, "describe_run", describe_run)
    monkeypatch.setattr(reports, "enhance_file", report_file)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name, level in (("loud", 0.5), ("quiet", 0.05)):
        tone = level * np.cos(np.arange(800))
        sf.write(tmp_path / "in" / f"{name}.wav", tone, 16000)
    return calls


def run(*options):
    return cli.main(["enhance", "in", "--output", "out", *options])


def peak(name):
    return np.abs(sf.read(f"out/{name}.wav")[0]).max()


def test_without_them_files_are_streamed(loaded, capsys):
    assert run() == 0
    assert "guard" not in loaded[0]
    assert peak("loud") == pytest.approx(0.5, abs=1e-3)
    assert "guard" not in capsys.readouterr().err


def test_details_are_lines_of_json(loaded, tmp_path):
    assert run("--details", "details.jsonl") == 0
    assert "guard" not in loaded[0]
    lines = (tmp_path / "details.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [x["input"] for x in found] == ["in/loud.wav", "in/quiet.wav"]
    assert found[0]["output"] == "out/loud.wav"
    assert found[0]["confidence"]["num_tokens"] == 3
    assert found[0]["confidence"]["margin"] == 0
    assert "decisions" not in found[0]
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    confidence = found[0]["confidence"]["log_prob"]
    assert json.loads(lines[0])["confidence"] == pytest.approx(
        confidence, abs=1e-3
    )
    assert peak("loud") == pytest.approx(0.25, abs=1e-3)


def test_decisions_of_the_guard_are_told(loaded, tmp_path, capsys):
    assert run("--guard", "--details", "details.jsonl") == 0
    assert loaded[0]["guard"] == {"enabled": True}
    err = capsys.readouterr().err
    assert "guard: in/quiet.wav: held the whole file back (words)" in err
    assert "loud" not in err
    lines = (tmp_path / "details.jsonl").read_text().splitlines()
    (decision,) = json.loads(lines[1])["decisions"]
    assert decision["reasons"] == ["words"] and decision["mix"] == 0.0
    assert decision["stop"] == 800


def test_a_file_that_cannot_be_written(loaded, capsys):
    assert run("--details", "absent/details.jsonl") == 2
    assert "--details absent/details.jsonl: No such" in capsys.readouterr().err
