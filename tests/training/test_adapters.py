"""What learns learns, what does not stays; merged LoRA is the same model."""

import copy

import pytest
import torch

from speechbrain_llase.lobes.token_lm import TokenLM
from speechbrain_llase.training.adapters import FineTunedLM, Frozen

LORA = ["backbone.layers.*.self_attn.?_proj", "backbone.layers.*.mlp.*_proj"]
LAST = ["backbone.layers.1", "backbone.norm", "predict_layer"]


def make(train, **options):
    """A tiny LM, ready to be trained."""
    torch.manual_seed(0)
    token_lm = TokenLM(8, 16, 2, 2, 32, head="digits", dropout=0.0)
    options = {"lora_layers": LORA, "last_layers": LAST} | options
    return FineTunedLM(token_lm, train, **options)


def step(tuned):
    """One large step of gradient descent on what learns."""
    feats = torch.randn(2, 9, 8)
    tuned.adapted_model(feats).square().sum().backward()
    with torch.no_grad():
        for weight in tuned.learning().values():
            weight -= 0.05 * weight.grad / weight.grad.norm().clamp(min=1e-9)
    tuned.zero_grad()


def test_what_learns():
    """The named layers, and no others."""
    everything = dict(make("all").adapt().adapted_model.named_parameters())
    assert make("all").adapt().learning().keys() == everything.keys()
    lora = make("lora").adapt().learning()
    assert len(lora) == 2 * 7 * 2 and all(
        "parametrizations.weight.0." in name for name in lora
    )
    last = make("last").adapt().learning()
    assert {name.split(".")[1] for name in last} == {
        "layers",
        "norm",
        "weight",
        "bias",
    }
    assert not any(name.startswith("backbone.layers.0") for name in last)


@pytest.mark.parametrize("train", ["all", "lora", "last"])
def test_save_load_merge(train, tmp_path):
    """The file holds what learns; with the base it gives the model back."""
    tuned = make(train).adapt()
    untouched = copy.deepcopy(tuned)
    for _ in range(3):
        step(tuned)
    for name, weight in tuned.adapted_model.named_parameters():
        was = untouched.adapted_model.get_parameter(name)
        assert torch.equal(weight, was) != weight.requires_grad, name
    tuned.saver(tmp_path / "token_lm.ckpt")
    other = make(train).adapt()
    other.loader(tmp_path / "token_lm.ckpt")
    feats = torch.randn(1, 30, 8)
    expected = tuned.adapted_model(feats)
    assert torch.equal(other.adapted_model(feats), expected)
    merged = other.merged()
    plain = TokenLM(8, 16, 2, 2, 32, head="digits", dropout=0.0).state_dict()
    assert merged.state_dict().keys() == plain.keys()
    torch.testing.assert_close(merged(feats), expected)
    assert not torch.allclose(
        expected, untouched.adapted_model(feats), atol=1e-3
    )


def test_lora_file_is_small(tmp_path):
    """Rank 16 on LLaSE's own dimensions: some MB of 1.1 GB."""
    with torch.device("meta"):
        token_lm = TokenLM(1024, 1024, 12, 16, 4096)
        tuned = FineTunedLM(token_lm, "lora", LORA[:1], LAST[:1]).adapt()
    count = sum(weight.numel() for weight in tuned.learning().values())
    assert count * 4 / 1e6 < 7  # MB in float32


def test_other_weights_are_refused(tmp_path):
    """Of another size, or of another choice, by name."""
    make("last").adapt().saver(tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="lora is trained: .*layers.0"):
        make("lora").adapt().loader(tmp_path / "last.ckpt")
    make("lora", lora_rank=2).adapt().saver(tmp_path / "rank2.ckpt")
    tuned = make("lora", lora_rank=4).adapt()
    with pytest.raises(ValueError, match="does not fit .* this size"):
        tuned.loader(tmp_path / "rank2.ckpt")


def test_wrong_settings():
    """Errors name what is there."""
    with pytest.raises(ValueError, match="choose all, lora, last"):
        make("some")
    with pytest.raises(ValueError, match="no layer .'layer9'"):
        make("last", last_layers=["layer9"])
    with pytest.raises(ValueError, match="LoRA updates linear"):
        make("lora", lora_layers=["backbone.norm"]).adapt()


def test_frozen_stays_frozen():
    """In eval mode and without gradients, whatever a Brain does."""
    modules = torch.nn.ModuleDict({"net": Frozen(torch.nn.Linear(2, 2))})
    modules.train()
    assert not modules["net"].network.training
    assert not modules["net"](torch.ones(1, 2)).requires_grad
