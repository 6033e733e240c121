"""The chunked loss is the plain one, with less memory."""

import pytest
import torch

from speechbrain_llase.lobes.multitask_lm import MultitaskLM
from speechbrain_llase.lobes.token_lm import TokenLM
from speechbrain_llase.nnet.fsq import tokens_to_levels
from speechbrain_llase.training.multitask import TaskLoss
from speechbrain_llase.training.token_loss import NO_TOKEN, TokenLoss


def make(head):
    """A tiny LM, features and targets with padding."""
    torch.manual_seed(0)
    token_lm = TokenLM(8, 16, 1, 2, 32, head=head, dropout=0.0)
    feats = torch.randn(3, 20, 8)
    targets = torch.randint(65536, (3, 20))
    targets[1, 15:] = NO_TOKEN
    return token_lm, feats, targets


def plain(token_lm, feats, targets, smoothing=0.0):
    """Sum of the cross-entropy as torch has it."""
    kept = targets != NO_TOKEN
    logits, goals = token_lm(feats)[kept], targets[kept]
    if token_lm.head == "digits":
        goals = tokens_to_levels(goals)
        logits, goals = logits.flatten(0, 1), goals.flatten()
    return torch.nn.functional.cross_entropy(
        logits, goals, reduction="sum", label_smoothing=smoothing
    )


@pytest.mark.parametrize("head", ["softmax", "digits"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradient_are_the_plain_ones(head, smoothing):
    """For any number of rows at a time, 55 frames in all."""
    token_lm, feats, targets = make(head)
    expected = plain(token_lm, feats, targets, smoothing)
    expected.backward()
    grads = {n: p.grad.clone() for n, p in token_lm.named_parameters()}
    for rows in (16, 55, 999):
        token_lm.zero_grad()
        scores = TokenLoss(token_lm, rows, smoothing)(feats, targets)
        assert scores.frames == 55
        torch.testing.assert_close(scores.loss, expected)
        scores.loss.backward()
        for name, parameter in token_lm.named_parameters():
            torch.testing.assert_close(
                parameter.grad, grads[name], atol=1e-4, rtol=1e-4
            )


@pytest.mark.parametrize("head", ["softmax", "digits"])
def test_accuracies(head):
    """Right tokens and digits are counted on frames, not on padding."""
    token_lm, feats, targets = make(head)
    best = token_lm.predict(feats)
    targets = torch.where(targets == NO_TOKEN, NO_TOKEN, best)
    targets[0, :10] = best[0, :10] // 4 * 4 + (best[0, :10] + 1) % 4
    scores = TokenLoss(token_lm, 7)(feats, targets)
    assert scores.tokens_right == 45
    assert scores.digits_right == 8 * 45 + 7 * 10


def test_memory_is_that_of_some_rows():
    """No tensor that autograd keeps is as large as the logits."""
    token_lm, feats, targets = make("softmax")
    largest = []

    def keep(tensor):
        """See what is kept for the backward pass."""
        if tensor.shape != token_lm.predict_layer.weight.T.shape:
            largest.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        plain(token_lm, feats, targets)
    assert max(largest) >= 55 * 65536
    largest.clear()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        TokenLoss(token_lm, 5)(feats, targets)
    assert max(largest) <= 16 * 65536


def test_bfloat16():
    """Under autocast the loss stays float32 and close."""
    token_lm, feats, targets = make("digits")
    expected = plain(token_lm, feats, targets)
    with torch.autocast("cpu", torch.bfloat16):
        scores = TokenLoss(token_lm, 16)(feats, targets)
    assert scores.loss.dtype == torch.float32
    torch.testing.assert_close(scores.loss, expected, rtol=0.02, atol=0)
    scores.loss.backward()


def test_tokens_of_other_audio():
    """A length that does not match is refused."""
    token_lm, feats, targets = make("digits")
    with pytest.raises(ValueError, match="other audio"):
        TokenLoss(token_lm, 16)(feats, targets[:, 1:])
    with pytest.raises(ValueError, match="rows=0"):
        TokenLoss(token_lm, 0)


@torch.no_grad()
def test_a_head_of_digits_is_one_of_tokens_whose_rows_are_sums():
    """Same tokens and loss; a small model can learn the one alone."""
    torch.manual_seed(0)
    digits = MultitaskLM(8, 8, 1, 2, 8, 0.0, head="digits").eval()
    tokens = MultitaskLM(8, 8, 1, 2, 8, 0.0).eval()
    weights, levels = digits.state_dict(), tokens_to_levels(torch.arange(65536))
    for key in [k for k in weights if k.startswith("predict")]:
        places = weights[key].unflatten(0, (8, 4))
        weights[key] = sum(places[k][levels[:, k]] for k in range(8))
    tokens.load_state_dict(weights)
    feats, targets = torch.randn(2, 40, 8), torch.randint(65536, (2, 40))
    for head in "xy":
        found = [
            torch.stack(lm.predict_each(list(feats), head=head))
            for lm in (digits, tokens)
        ]
        assert torch.equal(*found)
        losses = [
            TaskLoss(lm, 64)(feats, targets, [None, None], [head, "x"]).loss
            for lm in (digits, tokens)
        ]
        torch.testing.assert_close(*losses)
    assert digits(feats).shape == (2, 40, 8, 4)
    with pytest.raises(ValueError, match="head='tokens' is not known"):
        MultitaskLM(8, 8, 1, 2, 8, head="tokens")
