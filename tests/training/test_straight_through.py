"""Enhancement with a gradient: the same wave, and weights that learn."""

import pytest
import torch

from speechbrain_llase.lobes.xcodec2_vocoder import tokens_to_codes
from speechbrain_llase.nnet.fsq import tokens_to_levels
from speechbrain_llase.training.straight_through import (
    enhance_with_gradient,
    straight_through_codes,
)


@pytest.mark.parametrize("head", ["digits", "softmax"])
def test_codes_of_the_best_gradient_of_the_mean(head):
    """The value is the arg max; the gradient is that of the soft codes."""
    torch.manual_seed(0)
    shape = (3, 8, 4) if head == "digits" else (3, 65536)
    logits = torch.randn(shape, requires_grad=True)
    codes = straight_through_codes(logits, head)
    if head == "softmax":
        assert torch.equal(codes, tokens_to_codes(logits.argmax(-1)))
        levels = tokens_to_levels(torch.arange(65536)).float()
    else:
        best = logits.argmax(-1)
        assert torch.equal(codes, (best.float() - 2) / 2)
        levels = torch.arange(4.0)
    weights = torch.randn(3, 8)
    (ours,) = torch.autograd.grad((codes * weights).sum(), logits)
    mean = (logits.softmax(-1) @ levels - 2) / 2
    (theirs,) = torch.autograd.grad((mean * weights).sum(), logits)
    torch.testing.assert_close(ours, theirs)
    assert theirs.abs().sum() > 0


@pytest.fixture
def model(load_tiny):
    """The tiny model; its token LM learns."""
    model = load_tiny()
    model.mods.token_lm.requires_grad_(True)
    return model


def test_same_wave_as_in_use(model):
    """That of enhance_batch, ragged items, short and silent ones."""
    torch.manual_seed(0)
    noisy = 0.3 * torch.randn(4, 9000)
    noisy[1, 6300:] = 0
    noisy[2] = 0
    noisy[3, 300:] = 0
    lengths = torch.tensor([9000, 6300, 9000, 300]) / 9000
    ours = enhance_with_gradient(model, noisy, lengths)
    theirs = model.enhance_batch(noisy, lengths)
    assert ours.requires_grad and ours.shape == noisy.shape
    torch.testing.assert_close(ours.detach(), theirs, rtol=1e-4, atol=1e-5)
    full = enhance_with_gradient(model, noisy[:1])
    torch.testing.assert_close(full[0], ours[0])


def test_gradients_reach_the_token_lm_alone(model):
    """All its weights that a causal pass uses get one; the rest get none."""
    noisy = 0.3 * torch.randn(1, 8000)
    enhance_with_gradient(model, noisy).square().sum().backward()
    grads = {n: w.grad for n, w in model.mods.token_lm.named_parameters()}
    assert all(g is not None and g.isfinite().all() for g in grads.values())
    moved = [name for name, grad in grads.items() if grad.abs().sum() > 0]
    assert len(moved) > 0.9 * len(grads)
    for name in ("frontend", "vocoder"):
        assert all(w.grad is None for w in model.mods[name].parameters())
