"""Two models on the same mixtures: figures, differences, intervals."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))
import recipe_data

RECIPE = Path(__file__).parents[2] / "recipes/Folders/enhance/llase"


@pytest.fixture
def compare(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(RECIPE)
    import compare

    yield compare
    del sys.modules["compare"]


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Data, a tiny model, and one with another head."""
    folder = tmp_path_factory.mktemp("compare")
    recipe_data.write_model(folder / "model")
    recipe_data.write_model(folder / "other")
    weights = load_file(folder / "other/token_lm.ckpt")
    weights["predict_layer.bias"] += torch.randn(32)
    save_file(weights, folder / "other/token_lm.ckpt")
    recipe_data.write_folders(folder / "folders", clips=3)
    return folder


def run(compare, work, after: str, *more: str) -> dict:
    """Compare by some of the measures."""
    flags = ["--before", work / "model", "--after", work / after, *more]
    speech = "train" if "--noise" in more else "valid"
    flags += ["--clean", work / "folders/clean" / speech]
    flags += ["--output", work / "report.json", "--without", "words", "speaker"]
    if "--noise" in more:  # once is enough
        flags += ["dnsmos", "pesq", "estoi"]
    assert compare.main([str(flag) for flag in flags]) == 0
    return json.loads((work / "report.json").read_text())


def test_a_model_equals_itself(compare, work, capsys):
    """No change, in synthesised noise; the table says it."""
    pytest.importorskip("speechmos")
    report = run(compare, work, "model", "--repeats", "1")
    assert len(report["clips"]) == 2
    assert "noisy" in report["summary"]["OVRL"]
    names = ["loss", "tokens right", "digits right"]
    names += ["SIG", "BAK", "OVRL", "P.808", "PESQ", "ESTOI"]
    assert list(report["summary"]) == names
    for values in report["summary"].values():
        same = pytest.approx(0, abs=1e-6)  # ESTOI adds a little noise
        assert values["before"] - values["after"] == same
        assert [values[x] for x in ("change", "low", "high")] == [same] * 3
    said = capsys.readouterr()
    assert "| OVRL |" in said.out
    reading, loading, *bar = said.err.splitlines()
    assert reading.startswith("reading the speech in")
    assert loading.startswith("loading") and loading.endswith("measures ...")
    assert any("2/2" in line and "mixture" in line for line in bar)


def test_another_model_differs(compare, work):
    """On the same mixtures of recorded noise, whoever runs it."""
    noise = ["--noise", work / "folders/noise/train", "--repeats", "2"]
    first = run(compare, work, "other", *noise)
    again = run(compare, work, "other", *noise)
    assert first["clips"] == again["clips"] and len(first["clips"]) == 6
    assert len({clip["snr_db"] for clip in first["clips"]}) == 6
    assert {clip["kind"] for clip in first["clips"]} <= {"0.wav", "1.wav"}
    loss = first["summary"]["loss"]
    change = loss["after"] - loss["before"]
    assert loss["change"] == pytest.approx(change) and change != 0
    assert loss["low"] <= change <= loss["high"]
    assert first["summary"].keys() == {"loss", "tokens right", "digits right"}


def test_repeats_of_an_utterance_stay_together(compare):
    """Intervals are those of two utterances, however often each is mixed."""

    def clip(name, change):
        rows = {"noisy": {}, "before": {"OVRL": 2.0}}
        rows["after"] = {"OVRL": 2.0 + change}
        return {"utterance": name, "rows": rows}

    clips = [clip("a", 0.0)] * 50 + [clip("b", 1.0)] * 50
    found = compare.summarise(clips)["OVRL"]
    assert found["change"] == pytest.approx(0.5)
    assert found["low"] == pytest.approx(0) and found["high"] == pytest.approx(
        1
    )


def test_audio_that_cannot_be_used(compare, work, tmp_path, capsys):
    """Said in a line, before a model is loaded; the exit code is that of usage."""
    good = work / "folders/clean/valid"
    given = ["--after", "nowhere", "--output", str(tmp_path / "r.json")]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/broken.wav").write_bytes(b"RIFF but not really")
    for clean, noise, message in (
        (tmp_path / "none", good, f"error: There is no audio below {tmp_path}"),
        (tmp_path / "bad", good, "broken.wav cannot be read as audio"),
        (good, tmp_path / "none", "There is no audio below"),
        (good, tmp_path / "bad", "1 of 1 entries cannot be used"),
    ):
        flags = ["--clean", str(clean), "--noise", str(noise)]
        assert compare.main([*given, *flags]) == 2
        assert message in capsys.readouterr().err


def test_flags_that_cannot_be(compare, tmp_path, capsys):
    """Refused before anything is loaded."""
    given = ["--after", "x", "--clean", "x", "--output"]
    for more in (
        [str(tmp_path / "none/report.json")],
        ["r.json", "--repeats", "0"],
        ["r.json", "--snr-db", "5", "0"],
    ):
        with pytest.raises(SystemExit) as stopped:
            compare.main([*given, *more])
        assert stopped.value.code == 2
    assert "--snr-db LOW HIGH" in capsys.readouterr().err
