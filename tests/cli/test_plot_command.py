"""Tests of the sub-command `plot`."""

import json
import re

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.cli import plot as command
from speechbrain_llase.cli.parser import main
from speechbrain_llase.evaluation import plot

pytest.importorskip("matplotlib")


@pytest.fixture
def pair(tmp_path, monkeypatch, speech_like):
    """Two files in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("noisy.wav", speech_like.numpy(), 16000)
    (tmp_path / "out").mkdir()
    soundfile.write("out/noisy.flac", 0.5 * speech_like.numpy(), 16000)
    return ["plot", "noisy.wav", "out/noisy.flac"]


@pytest.fixture
def drawn(monkeypatch):
    """What `make_figure` is given while a test runs."""
    calls = []
    make_figure = plot.make_figure

    def remember(*args):
        calls.append(args)
        return make_figure(*args)

    monkeypatch.setattr(plot, "make_figure", remember)
    return calls


def test_default_output_is_in_the_current_folder(pair, tmp_path, capsys):
    assert main(pair) == 0
    assert capsys.readouterr().out == "noisy.png\n"
    assert (tmp_path / "noisy.png").read_bytes().startswith(b"\x89PNG")


def test_part_and_title_are_drawn(pair, drawn):
    more = ["--start", "0.5", "--stop", "1.25", "--title", "A clip"]
    assert main([*pair, *more, "--output", "a.pdf"]) == 0
    noisy, enhanced, confidence, kind, title = drawn[0]
    assert (noisy.start_s, noisy.stop_s) == (0.5, 1.25)
    assert (enhanced.start_s, enhanced.stop_s) == (0.5, 1.25)
    assert (confidence, kind, title) == (None, "entropy", "A clip")


def test_source_gives_the_models_confidence(pair, drawn, tiny, tiny_folder):
    source = ["--source", str(tiny_folder), "--device", "cpu"]
    assert main([*pair, *source, "--confidence", "margin"]) == 0
    _, report = tiny.enhance_file("noisy.wav", return_details=True)
    margin, kind = drawn[0][2:4]
    assert kind == "margin" and len(margin) == 100
    assert np.allclose(margin, report.details.margin, atol=1e-5)

    part = ["--start", "0.5", "--stop", "1"]
    assert main([*pair, *source, *part]) == 0
    entropy = report.details.entropy[25:51]
    assert np.allclose(drawn[1][2], entropy, atol=1e-5)


@pytest.mark.parametrize("context_from", ["own", "joined"])
def test_details_of_windows_are_those_of_enhancement(
    context_from, load_tiny, tmp_path, speech_like
):
    model = load_tiny(window_s=0.6, context_s=0.2, context_from=context_from)
    path = tmp_path / "a.wav"
    soundfile.write(path, speech_like.numpy(), 16000)
    _, report = model.enhance_file(path, return_details=True)
    details = command.predict_details(model, path)
    assert torch.equal(details.tokens, report.details.tokens)
    assert torch.equal(details.entropy, report.details.entropy)


def test_silence_has_no_frames(pair, tiny_folder, drawn):
    soundfile.write("noisy.wav", np.zeros(32000), 16000)
    assert main([*pair, "--source", str(tiny_folder)]) == 0
    assert len(drawn[0][2]) == 0


def test_details_are_found_by_their_input(pair, drawn, tmp_path):
    lines = [
        {"input": "other.wav", "entropy": [9.0] * 100},
        {"input": str(tmp_path / "noisy.wav"), "entropy": [1.0] * 100},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "details.jsonl").write_text(text)
    assert main([*pair, "--details", "details.jsonl"]) == 0
    assert drawn[0][2].tolist() == [1.0] * 100


def test_details_of_a_report_need_no_input(pair, drawn, tiny):
    _, report = tiny.enhance_file("noisy.wav", return_details=True)
    with open("a.jsonl", "w") as file:
        print(report.as_json(frames=True), file=file)
    assert main([*pair, "--details", "a.jsonl"]) == 0
    assert np.allclose(drawn[0][2], report.details.entropy)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("not json\n", "not made of lines of JSON"),
        ("[1]\n", "no JSON object"),
        ('{"input": "a.wav"}\n', "none of which is of noisy.wav"),
        ('{"input": "noisy.wav"}\n', "holds no entropy .*frames=True"),
    ],
)
def test_bad_details_are_refused(pair, tmp_path, capsys, text, reason):
    (tmp_path / "a.jsonl").write_text(text)
    assert main([*pair, "--details", "a.jsonl"]) == 2
    assert_one_line(capsys, reason)
    assert not (tmp_path / "noisy.png").exists()


@pytest.mark.parametrize(
    "more, reason",
    [
        (["--output", "noisy.wav"], "is an input"),
        (["--output", "a.xyz"], r"not supported .*png"),
        (["--output", "none/a.png"], "no folder none"),
        (["--start", "5"], "ends at 2.00 s"),
        (["--start", "1", "--stop", "1"], "below the stop"),
        (["--source", "nobody"], "no model 'nobody'"),
        (["--source", "a", "--details", "b"], "choose one"),
        (["--details", "missing.jsonl"], "missing.jsonl"),
    ],
)
def test_wrong_usage_is_refused(pair, capsys, more, reason):
    assert main([*pair, *more]) == 2
    assert_one_line(capsys, reason)


def test_wrong_files_are_refused(pair, tmp_path, capsys):
    (tmp_path / "bad.wav").write_text("no audio")
    soundfile.write("short.wav", np.zeros(16000), 16000)
    for name, reason in (
        ("missing.wav", "no file missing.wav"),
        ("bad.wav", "cannot be read as audio"),
        ("short.wav", "one 1.00 s; give two of one recording"),
    ):
        assert main(["plot", "noisy.wav", name]) == 2
        assert_one_line(capsys, reason)


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon"])
def test_times_are_numbers_of_seconds(pair, capsys, text):
    with pytest.raises(SystemExit) as exit:
        main([*pair, f"--start={text}"])
    assert exit.value.code == 2
    assert "not a number of seconds" in capsys.readouterr().err


def assert_one_line(capsys, reason):
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("speechbrain-llase: error: ")
    assert err.count("\n") == 1
    assert re.search(reason, err), err
