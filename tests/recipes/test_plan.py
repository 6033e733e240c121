"""The plan of a training: arithmetic on measured figures."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import recipe_data

from speechbrain_llase.training.adapters import Frozen

RECIPE = Path(__file__).parents[2] / "recipes/DNS/enhancement/llase"


@pytest.fixture
def plan(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(RECIPE)
    import plan

    yield plan
    del sys.modules["plan"]


def test_arithmetic(plan):
    """5,000 h on 8 devices at 100, 50 and 25 s a second."""
    args = SimpleNamespace(hours=5000, gpus=8)
    lines = plan.plan(args, 100.0, 50.0, 25.0, 10)
    figures = [float(line[17:28]) for line in lines]
    assert figures == [1.84, 6.2, 12.5, 125.0, 2.0]  # GB, h, h, h, cores


def test_tokenizer_of_the_yaml(plan, monkeypatch, tmp_path):
    """That of the base which a YAML names; Xcodec2's where it names none."""
    folders = Path(RECIPE).parents[2] / "Folders/enhance/llase/hparams"
    hparams = plan.read(folders / "finetune_mini.yaml", str(tmp_path))
    assert hparams["base"] == "llase_mini"
    official = tmp_path / "official.yaml"
    official.write_text("base: !PLACEHOLDER\noutput_folder: results\n")
    assert plan.read(official, "x") == {"base": "", "output_folder": "x"}
    built = []
    monkeypatch.setattr(plan, "CodecEncoder", lambda *dims: built.append(dims))
    monkeypatch.setattr(plan, "SemanticEncoder", lambda *_: None)
    monkeypatch.setattr(plan, "Xcodec2Tokenizer", lambda *_: torch.nn.Flatten())
    assert plan.time_extraction("llase_mini", "cpu", 1) > 0 and not built
    assert plan.time_extraction("", "cpu", 1) > 0 and built


def test_measures_what_the_yaml_says(plan, monkeypatch, tmp_path, capsys):
    """The YAML's own networks learn; no data is needed, nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plan, "time_extraction", lambda *_: 100.0)
    moved = []  # to the device: the vocoder takes memory there, too
    monkeypatch.setattr(
        Frozen, "to", lambda self, _: moved.append(self.network)
    )
    text = (RECIPE / "hparams/train.yaml").read_text()
    read = plan.load_hyperpyyaml
    tiny = recipe_data.TINY | {"segment_s": 1.0}
    monkeypatch.setattr(
        plan, "load_hyperpyyaml", lambda text, given: read(text, given | tiny)
    )
    (tmp_path / "tiny.yaml").write_text(text)
    flags = ["tiny.yaml", "--batch-s", "2", "--steps", "1", "--device", "cpu"]
    flags += ["--hours", "10", "--gpus", "1"]
    yaml = text.replace("backbone.layers.11", "backbone.layers.1")
    (tmp_path / "tiny.yaml").write_text(yaml)
    assert plan.main(flags) == 0
    names = {type(network).__name__ for network in moved}
    assert names == {"WavLMFrontend", "Xcodec2Vocoder"}
    out = capsys.readouterr().out
    assert "2 s a" in out and "plan for 10 h, 1 such devices, 10 epochs" in out
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.yaml"]
