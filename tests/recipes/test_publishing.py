"""Publishing: merged, complete, and refused where it cannot be right."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from speechbrain.inference.interfaces import foreign_class

sys.path.insert(0, str(Path(__file__).parent))
import recipe_data

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.cli.parser import main
from speechbrain_llase.inference.sources import (
    licence_of,
    packaged_models,
    resolve_source,
)
from speechbrain_llase.lobes.token_lm import TokenLM
from speechbrain_llase.pretrained.model_yaml import without_refiner
from speechbrain_llase.pretrained.publish import find_checkpoint, publish
from speechbrain_llase.pretrained.tensors import read_tensors
from speechbrain_llase.training.adapters import FineTunedLM

LORA = ["backbone.layers.*.self_attn.?_proj"]
YAML = """\
base: {base}
frontend: !new:speechbrain_llase.lobes.wavlm_frontend.WavLMFrontend
    {frontend}
token_lm: !new:speechbrain_llase.lobes.token_lm.TokenLM
    {token_lm}
vocoder: !new:speechbrain_llase.lobes.xcodec2_vocoder.Xcodec2Vocoder
    {vocoder}
fine_tuned: !new:speechbrain_llase.training.adapters.FineTunedLM
    token_lm: !ref <token_lm>
    train: lora
    lora_layers: ["backbone.layers.*.self_attn.?_proj"]
    last_layers: [predict_layer]
    lora_rank: 4
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        frontend: !ref <frontend>
        token_lm: !ref <token_lm>
        vocoder: !ref <vocoder>
    custom_hooks:
        frontend: !name:speechbrain_llase.pretrained.loading.load_frontend
        token_lm: !name:speechbrain_llase.pretrained.loading.load_token_lm
        vocoder: !name:speechbrain_llase.pretrained.loading.load_vocoder
"""


@pytest.fixture
def run(tmp_path) -> Path:
    """A run with two checkpoints of LoRA weights; the second is better."""
    base = recipe_data.write_model(tmp_path / "base")
    dims = {
        name: "\n    ".join(f"{k}: {v}" for k, v in values.items())
        for name, values in recipe_data.TINY.items()
    }
    dims["frontend"] += "\n    num_buckets: 320\n    max_distance: 800"
    folder = tmp_path / "run"
    torch.manual_seed(1)
    for k, loss in enumerate((2.0, 1.0)):
        checkpoint = folder / f"save/CKPT+{k}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "CKPT.yaml").write_text(f"epoch: {k + 1}\nloss: {loss}\n")
        tuned = tune(base)
        for weight in tuned.learning().values():
            weight.data = torch.randn_like(weight)
        tuned.saver(checkpoint / "token_lm.ckpt")
        torch.save({"tokenizer": "mel"}, checkpoint / "tokenizer.ckpt")
    (folder / "hyperparams.yaml").write_text(YAML.format(base=base, **dims))
    return folder


def tune(base: Path) -> FineTunedLM:
    """The base's token LM with LoRA."""
    token_lm = TokenLM(**recipe_data.TOKEN_LM)
    token_lm.load_state_dict(read_tensors(str(base / "token_lm.ckpt")))
    tuned = FineTunedLM(token_lm, "lora", LORA, ["predict_layer"], 4)
    return tuned.adapt().eval()


def test_lora_is_merged(run, tmp_path):
    """The folder's plain LM computes what the best checkpoint computed."""
    manifest = publish(run, tmp_path / "out", "float32")
    tuned = tune(tmp_path / "base")
    tuned.loader(run / "save/CKPT+1/token_lm.ckpt")
    enhancer = EnhanceLLaSE.from_hparams(
        tmp_path / "out", run_opts={"device": "cpu"}
    )
    feats = torch.randn(1, 40, 32)
    ours = enhancer.mods.token_lm(feats)
    torch.testing.assert_close(ours, tuned.adapted_model(feats))
    assert manifest["training"] == {
        "checkpoint_epoch": 2,
        "checkpoint_loss": 1.0,
        "share": 1.0,
    }
    assert manifest["base"] == "base" and manifest["tokenizer"] == "mel"
    written = json.loads((tmp_path / "out/manifest.json").read_text())
    assert written == manifest
    assert (tmp_path / "out/codec.yaml").is_file()  # can be tuned again


def test_a_published_folder_speaks_for_itself(run, tmp_path):
    """Head, card and custom.py are its own; hubs and SpeechBrain read them."""
    head = "# Model: the base\n# Licence: CC-BY-NC-4.0, of MODEL_CARD.md\n"
    file = tmp_path / "base/hyperparams.yaml"
    file.write_text(head + file.read_text())
    publish(run, tmp_path / "tuned")
    text = (tmp_path / "tuned/hyperparams.yaml").read_text()
    assert re.search(r"^# Model: tuned, fine-tuned from base", text, re.M)
    assert "the base" not in text.replace("model card of", "")
    licence = licence_of(str(tmp_path / "tuned"))
    assert licence == "CC-BY-NC-4.0, of the model card of base"
    card = (tmp_path / "tuned/README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "speechbrain"
    assert front["license"] == "cc-by-nc-4.0" and front["base_model"] == "base"
    assert front["metrics"] == ["loss"]
    (entry,) = front["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "tuned"
    assert result["metrics"] == [{"type": "loss", "value": 1.0}]
    data = ModelCard(card).data  # as the hub's own client reads it
    assert data.base_model == "base" and data.model_name == "tuned"
    assert [x.metric_value for x in data.eval_results] == [1.0]
    assert licence in card and "The refiner of base was left out" in card
    assert "refiner" not in text
    assert not (tmp_path / "tuned/refiner.ckpt").exists()
    enhancer = foreign_class(
        source=str(tmp_path / "tuned"), run_opts={"device": "cpu"}
    )
    assert isinstance(enhancer, EnhanceLLaSE)
    assert "refiner" not in enhancer.mods
    assert enhancer.enhance_batch(torch.rand(1, 8000) - 0.5).any()


def test_a_refiner_of_the_base_stays_if_asked(run, tmp_path):
    """It was trained on what the base's token LM says: the card says so."""
    publish(run, tmp_path / "out", keep_refiner=True)
    enhancer = EnhanceLLaSE.from_hparams(
        tmp_path / "out", run_opts={"device": "cpu"}
    )
    assert "refiner" in enhancer.mods
    ours, theirs = (
        (tmp_path / name / "refiner.ckpt").read_bytes()
        for name in ("out", "base")
    )
    assert ours == theirs
    card = (tmp_path / "out/README.md").read_text()
    assert "It has the refiner of base" in card


def test_the_refiner_of_llase_mini_can_be_taken_out(tmp_path):
    """Nothing else in its YAML needs it."""
    folder = tmp_path / "mini"
    shutil.copytree(packaged_models()["llase_mini"], folder)
    file = folder / "hyperparams.yaml"
    file.write_text(without_refiner(file.read_text()))
    (folder / "refiner.ckpt").unlink()
    enhancer = EnhanceLLaSE.from_hparams(folder, run_opts={"device": "cpu"})
    assert set(enhancer.mods) == {"frontend", "token_lm", "vocoder"}


def test_share_of_the_way(run, tmp_path):
    """Half of the way is the mean of the base's weights and the trained ones."""
    ends = read_tensors(str(tmp_path / "base/token_lm.ckpt"))
    publish(run, tmp_path / "whole", "float32")
    manifest = publish(run, tmp_path / "half", "float32", 0.5)
    assert manifest["training"]["share"] == 0.5
    whole, half = (
        read_tensors(str(tmp_path / name / "token_lm.ckpt"))
        for name in ("whole", "half")
    )
    assert any(not torch.equal(whole[name], ends[name]) for name in ends)
    for name, weight in half.items():
        mean = (whole[name] + ends[name]) / 2
        torch.testing.assert_close(weight, mean)
    for share in (0.0, 1.5):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            publish(run, tmp_path / "out", share=share)


def test_no_share_of_a_run_from_nothing(run, tmp_path, capsys):
    """Its token LM began with random weights, which are nobody's."""
    yaml = run / "hyperparams.yaml"
    lines = yaml.read_text().splitlines(keepends=True)
    loaded = [line for line in lines if "token_lm: !ref <token_lm>\n" in line]
    assert len(loaded) == 2  # the second in the pretrainer
    lines.remove("        token_lm: !ref <token_lm>\n")
    yaml.write_text("".join(lines))
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="from nothing.* leave out --share"):
        publish(run, out, "float32", 0.5)
    command = ["publish", str(run), "--output", str(out), "--share", "0.5"]
    assert main(command) == 1 and "from nothing" in capsys.readouterr().err
    assert not out.exists()
    assert main(command[:-2]) == 0


def test_command(run, tmp_path, capsys):
    """One command; it says what is wrong and leaves nothing behind."""
    output = tmp_path / "model"
    command = ["publish", str(run), "--output", str(output)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "token_lm.ckpt" in said and "custom.py" in said
    assert main(command) == 2 and "there already" in capsys.readouterr().err
    command[-1] = str(tmp_path / "other")
    assert main(["publish", "nowhere", *command[2:]]) == 2
    assert main([*command, "--share", "2"]) == 2
    tuned = run / "save/CKPT+1/token_lm.ckpt"
    tuned.write_bytes((run / "save/CKPT+1/tokenizer.ckpt").read_bytes())
    assert main(command) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "base",
        "model",
        "run",
    ]


def test_refusals(run, tmp_path):
    """No checkpoint, a YAML of another kind, a base on hubs."""
    with pytest.raises(FileNotFoundError, match="no checkpoint of a whole"):
        find_checkpoint(tmp_path)
    assert find_checkpoint(run / "save/CKPT+0") == run / "save/CKPT+0"
    text = (run / "hyperparams.yaml").read_text()
    hubs = text.replace(f"base: {tmp_path / 'base'}", "base: llase")
    (run / "hyperparams.yaml").write_text(hubs)
    with pytest.raises(ValueError, match="convert or download it first"):
        publish(run, tmp_path / "out")
    (run / "hyperparams.yaml").write_text("seed: 1\n")
    with pytest.raises(ValueError, match="has no frontend"):
        publish(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert Path(str(resolve_source("llase"))).is_dir()
