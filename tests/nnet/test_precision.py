"""What weights are held in: float32, bfloat16 or int8."""

import pickle
import weakref

import pytest
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.lobes.spectral_encoder import magnitudes
from speechbrain_llase.lobes.token_lm import TokenLM
from speechbrain_llase.lobes.wavlm_frontend import WavLMFrontend
from speechbrain_llase.nnet import precision as compute
from speechbrain_llase.nnet.int8 import Int8Linear, quantise_rows
from speechbrain_llase.nnet.layers import (
    attend_at_once,
    attend_in_blocks,
    convolve,
)
from speechbrain_llase.nnet.packed_linear import PackedLinear

CPU = {"device": "cpu"}


def load(**kwargs) -> EnhanceLLaSE:
    return EnhanceLLaSE.from_hparams(run_opts=CPU, **kwargs)


@pytest.fixture(scope="module")
def noisy() -> torch.Tensor:
    """Three seconds of gliding harmonics in noise (1, 48000)."""
    time = torch.arange(48000) / 16000
    pitch = 120 + 30 * torch.sin(2 * torch.pi * 1.5 * time)
    phase = 2 * torch.pi * pitch.cumsum(0) / 16000
    voice = sum(torch.sin(k * phase) / k for k in range(1, 15))
    voice = voice * (torch.sin(2 * torch.pi * 3 * time) > -0.3)
    noise = torch.randn(48000, generator=torch.Generator().manual_seed(0))
    return (0.1 * voice + 0.02 * noise)[None]


def test_float32_is_the_default():
    model = load()
    kinds = {p.dtype for p in model.mods.parameters()}
    assert kinds == {torch.float32}


@pytest.mark.parametrize("kind, least", [("bfloat16", 0.93), ("int8", 0.85)])
def test_tokens_and_wave_of_lower_precisions(noisy, kind, least):
    """llase_mini: most tokens are those of float32, and spectra follow.

    Phases follow the pitch of the predicted spectra from pulse to pulse, so
    waves drift apart and are not compared.
    """
    exact, model = load(), load(overrides={"compute": kind})
    tokens = exact.predict_tokens(noisy)
    same = (model.predict_tokens(noisy) == tokens).float().mean()
    assert least < float(same)
    ours, theirs = (
        magnitudes(each.stages.decode([tokens[0]])[0][None])
        for each in (model, exact)
    )
    error = (ours - theirs).norm() / theirs.norm()
    assert error < 0.03


def test_weights_are_held_in_bfloat16():
    model = load(overrides={"compute": "bfloat16"})
    for name in model.MODULES_NEEDED:
        assert model.mods[name].compute == "bfloat16"
    assert model.computes_in == "bfloat16"
    kinds = {p.dtype for p in model.mods.refiner.parameters()}
    assert kinds == {torch.float32}  # it is small
    backbone = model.mods.token_lm.backbone
    assert backbone.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16
    assert backbone.norm.weight.dtype == torch.float32
    assert model.mods.token_lm.predict_layer.weight.dtype == torch.float32
    conv = model.mods.frontend.encoder.pos_conv_embed.conv
    assert conv.weight.dtype == torch.bfloat16
    assert model.mods.frontend.stem.embed.weight.dtype == torch.float32


def test_bf16_run_option_means_bfloat16():
    model = EnhanceLLaSE.from_hparams(
        run_opts={"device": "cpu", "precision": "bf16"}
    )
    assert model.mods.token_lm.compute == "bfloat16"


def test_weights_that_are_trained_stay_float32():
    model = load(freeze_params=False, overrides={"compute": "bfloat16"})
    kinds = {p.dtype for p in model.mods.parameters()}
    assert kinds == {torch.float32}
    assert all(p.requires_grad for p in model.mods.parameters())


def test_auto_takes_what_the_cpu_has(monkeypatch):
    for fast, name in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(compute, "has_fast_bfloat16", lambda _, f=fast: f)
        assert compute.choose("auto", "cpu") == name


def test_unknown_compute_is_refused():
    with pytest.raises(ValueError, match="float16.*choose one of auto"):
        load(overrides={"compute": "float16"})
    with pytest.raises(ValueError, match="int8 is for the CPU"):
        compute.choose("int8", "cuda")


def test_int8_without_its_library_is_refused(monkeypatch):
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    with pytest.raises(ValueError, match="oneDNN.*float32 or auto"):
        compute.choose("int8", "cpu")


def test_a_network_without_weights_is_refused():
    """Built to be read, but never read: no random output."""
    with compute.loading("cpu"):
        network = TokenLM(32, 16, 1, 2, 32)
    with pytest.raises(ValueError, match="TokenLM has no weights"):
        compute.refuse_empty(network)
    network.load_state_dict(TokenLM(32, 16, 1, 2, 32).state_dict())
    compute.refuse_empty(network)


@pytest.mark.parametrize("learns", [False, True])
def test_a_network_is_finished_once_it_is_read(learns):
    """Before the next one takes memory; one that learns stays as it is."""
    sizes = 32, 64, 1, 2, 128
    with compute.loading("cpu", "int8", learns):
        network = TokenLM(*sizes)
        network.load_state_dict(TokenLM(*sizes).state_dict())
    held = {type(layer) for layer in network.modules()}
    assert (Int8Linear in held) is not learns
    assert network.predict_layer.weight.dtype == torch.bfloat16


def test_outside_of_loading_weights_are_random():
    one, other = (TokenLM(32, 16, 1, 2, 32) for _ in range(2))
    assert not torch.equal(one.audio_linear.weight, other.audio_linear.weight)


@torch.no_grad()
def test_folded_weight_norm_changes_nothing():
    network = WavLMFrontend([8] * 7, 32, 1, 2, 64, 320, 800).eval()
    wavs = torch.randn(1, 8000)
    before = network(wavs)
    compute.finish(network)
    assert "parametrizations" not in str(list(network.state_dict()))
    torch.testing.assert_close(network(wavs), before, atol=1e-6, rtol=1e-6)


@torch.no_grad()
@pytest.mark.skipif(
    not compute.has_fast_bfloat16("cpu"), reason="needs bfloat16 products"
)
@pytest.mark.parametrize("bias", [True, False])
def test_packed_is_the_plain_product(bias):
    """To the last bit, for any number of rows; copied, and moved away."""
    linear = torch.nn.Linear(96, 80, bias).bfloat16()
    packed = PackedLinear(linear)
    for shape in ((1, 96), (700, 96), (2, 701, 96)):
        rows = torch.randn(shape).bfloat16()
        assert torch.equal(packed(rows), linear(rows))
        assert torch.equal(
            pickle.loads(pickle.dumps(packed))(rows), linear(rows)
        )
    assert torch.equal(packed.weight, linear.weight)
    packed.to("cpu")
    assert packed.packed is not None
    packed.to("meta")
    assert packed.packed is None
    assert packed(rows.to("meta")).shape == (2, 701, 80)


def test_replaced_layers_are_freed_one_by_one():
    """Memory never holds the weights of all layers twice."""
    network = torch.nn.Module()
    network.layers = torch.nn.ModuleList(
        torch.nn.Sequential(torch.nn.Linear(64, 64).bfloat16())
        for _ in range(3)
    )
    held, most = weakref.WeakSet(), 0

    def kind(layer):
        nonlocal most
        most = max(most, len(held))
        held.add(layer)
        return torch.nn.Identity()

    outer = torch.nn.Sequential(network)
    compute.replace_linears(outer, kind)
    assert not isinstance(network.layers[2][0], torch.nn.Linear)
    assert most <= 1


@torch.no_grad()
def test_convolutions_lie_channels_last():
    """`convolve` copies no weights of a network that is finished."""
    network = torch.nn.Sequential(torch.nn.Conv1d(8, 6, 3))
    x = torch.randn(2, 20, 8)
    before = convolve(network[0], x)
    compute.finish(network)
    image = network[0].weight.unsqueeze(2)
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(convolve(network[0], x), before)


@torch.no_grad()
def test_int8_is_the_integer_product():
    torch.manual_seed(0)
    linear = torch.nn.Linear(96, 80)
    quantised = Int8Linear(linear)
    rows = torch.randn(5, 96) * torch.tensor([[1e-3], [1], [30], [0], [2]])
    matrix, scale = quantise_rows(rows)
    assert int(matrix[3].float().sub(128).abs().max()) == 0
    weight = (linear.weight / quantised.scale[:, None]).round()
    exact = (matrix.float() - 128) @ weight.t() * quantised.scale * scale
    exact = exact + linear.bias
    torch.testing.assert_close(
        quantised(rows).float(), exact, atol=1e-2, rtol=1e-2
    )
    error = quantised(rows).float() - linear(rows)
    assert float(error.abs().max()) < 0.02 * float(linear(rows).abs().max())


def test_int8_rows_never_overflow():
    """Scales are rounded to bfloat16; the largest sample must stay inside."""
    rows = torch.linspace(1e-6, 1e4, 5000)[:, None] * torch.tensor([[-1.0, 1]])
    for kind in (torch.float32, torch.bfloat16):
        matrix, scale = quantise_rows(rows.to(kind))
        assert int(matrix.min()) >= 1 and int(matrix.max()) <= 255
        back = (matrix.float() - 128) * scale.float()
        error = (back - rows).abs().amax(1) / rows.abs().amax(1)
        assert float(error.max()) < 0.01


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("biased", [True, False])
def test_blocks_of_attention_are_attention(causal, biased, monkeypatch):
    monkeypatch.setattr("speechbrain_llase.nnet.layers.SCORES", 6 * 300 * 100)
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 300, 16) for _ in range(3))
    bias = torch.randn(3, 300, 300) if biased and not causal else None
    gate = torch.rand(2, 3, 300) if bias is not None else None
    expected = attend_at_once(q, k, v, bias, gate, causal, 0.0)
    ours = attend_in_blocks(q, k, v, bias, gate, causal, 0.0)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
