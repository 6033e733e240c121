"""Fused layers: the same results, one compiled form for all layers."""

import logging

import pytest
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.lobes import llama, wavlm, xcodec2
from speechbrain_llase.nnet import compilation as fusion
from speechbrain_llase.nnet.compilation import fusible, fusing

MARKED = [
    (wavlm, "before_attention"),
    (wavlm, "after_attention"),
    (llama, "before_attention"),
    (llama, "after_attention"),
    (xcodec2, "before_attention"),
    (xcodec2, "after_attention"),
    (xcodec2, "norm_and_silu"),
]


@pytest.fixture
def compiled(monkeypatch):
    """Stand in for the compiler; the names of what it was given, and ran."""
    given, ran = [], []

    def compile_(function, dynamic):
        assert dynamic
        given.append(function.__qualname__)

        def run(*args):
            ran.append(function.__qualname__)
            return function(*args)

        return run

    monkeypatch.setattr(torch, "compile", compile_)
    return given, ran


def test_runs_as_it_is_outside(compiled):
    """Nothing is compiled that nobody asked for."""
    double = fusible(lambda x: 2 * x)
    assert double(torch.ones(1)) == 2
    with fusing(False):
        assert double(torch.ones(1)) == 2
    assert compiled == ([], [])


def test_is_compiled_once(compiled):
    """The first call under `fusing` compiles, the next ones run that."""
    double = fusible(lambda x: 2 * x)
    with fusing(True):
        assert double(torch.ones(1)) == double(torch.ones(1)) == 2
    assert double(torch.ones(1)) == 2
    given, ran = compiled
    assert len(given) == 1 and len(ran) == 2


def test_all_networks_are_fused(compiled, monkeypatch):
    """Every layer of the three networks runs in its compiled form."""
    for module, name in MARKED:
        plain = getattr(module, name).__wrapped__
        monkeypatch.setattr(module, name, fusible(plain))
    model = EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})
    noisy = torch.rand(1, 16000, generator=torch.Generator().manual_seed(0))
    plain = model.enhance_batch(noisy - 0.5)
    model.stages.fuses = True
    assert torch.equal(model.enhance_batch(noisy - 0.5), plain)
    given, ran = compiled
    assert len(given) == len(MARKED)  # one form for all layers
    layers = sum(
        len(layers)
        for layers in (
            model.mods.frontend.encoder.layers,
            model.mods.token_lm.backbone.layers,
            model.mods.vocoder.decoder.layers,
        )
    )
    attention = [name for name in ran if name.endswith("attention")]
    assert len(attention) == 2 * layers


def test_cpu_is_left_alone(caplog):
    """A CPU gains nothing: the option is refused in words, not in silence."""
    with caplog.at_level(logging.WARNING):
        model = EnhanceLLaSE.from_hparams(
            run_opts={"device": "cpu", "compile": True}
        )
    assert not model.stages.fuses
    assert "compile=True" in caplog.text


@pytest.mark.slow
def test_compiler_keeps_tokens():
    """What PyTorch's compiler makes of the layers gives the same tokens."""
    model = EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})
    rng = torch.Generator().manual_seed(0)
    for samples in (16000, 24000):  # two lengths, one compiled form
        noisy = torch.rand(1, samples, generator=rng) - 0.5
        model.stages.fuses = False
        plain = model.predict_tokens(noisy)
        model.stages.fuses = True
        assert torch.equal(model.predict_tokens(noisy), plain)
    assert fusion._fusing.get() is False
