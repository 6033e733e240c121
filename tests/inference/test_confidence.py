"""Entropy and margin: against torch's distributions and brute force."""

import json
import math

import pytest
import torch
from torch.distributions import Categorical

from speechbrain_llase.inference.confidence import (
    Details,
    measure_hidden,
    measure_logits,
    score_each,
)
from speechbrain_llase.lobes.token_lm import TokenLM
from speechbrain_llase.nnet.fsq import (
    VOCAB_SIZE,
    levels_to_tokens,
    mean_codes,
)
from speechbrain_llase.nnet.packing import pack, unpack


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def all_log_probs(logits):
    """Log probability of all 65,536 tokens from digits (N, 8, 4)."""
    total = torch.zeros(len(logits), 1, dtype=torch.float64)
    for digit in logits.double().log_softmax(-1).unbind(1):  # (N, 4)
        total = (digit[:, :, None] + total[:, None]).flatten(1)
    return total  # (N, 65536): digit j counts 4 ** j


def test_softmax_is_what_torch_says():
    logits = 3 * torch.randn(5, VOCAB_SIZE, generator=rng())
    tokens = logits.argmax(-1)
    details = measure_logits(logits, tokens)
    posterior = Categorical(logits=logits.double())
    expected = posterior.entropy().float()
    torch.testing.assert_close(details.entropy, expected, atol=1e-3, rtol=0)
    best = logits.sort(-1, descending=True).values
    torch.testing.assert_close(details.margin, best[:, 0] - best[:, 1])
    expected = posterior.log_prob(tokens).float()
    torch.testing.assert_close(details.log_prob, expected)


@pytest.mark.parametrize("spread", [0.1, 2.0, 10.0])
def test_digits_are_what_all_tokens_say(spread):
    """The figures of the digits are those of the whole vocabulary."""
    logits = spread * torch.randn(3, 8, 4, generator=rng())
    tokens = levels_to_tokens(logits.argmax(-1))
    log_probs = all_log_probs(logits)
    assert torch.equal(log_probs.argmax(-1), tokens)
    details = measure_logits(logits, tokens)
    expected = Categorical(logits=log_probs).entropy().float()
    torch.testing.assert_close(details.entropy, expected, atol=1e-4, rtol=1e-4)
    best = log_probs.sort(-1, descending=True).values.float()
    torch.testing.assert_close(
        details.margin, best[:, 0] - best[:, 1], atol=1e-4, rtol=1e-4
    )
    other = torch.tensor([0, 12345, VOCAB_SIZE - 1])
    found = measure_logits(logits, other).log_prob
    expected = log_probs.gather(1, other[:, None]).squeeze(1).float()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_extremes():
    logits = torch.zeros(1, 8, 4)
    details = measure_logits(logits, torch.tensor([5]))
    assert details.entropy.item() == pytest.approx(
        math.log(VOCAB_SIZE), abs=1e-4
    )
    assert details.margin.item() == 0
    logits[..., 2] = 200.0
    details = measure_logits(logits, levels_to_tokens(logits.argmax(-1)))
    assert details.entropy.item() == pytest.approx(0, abs=1e-6)
    assert details.margin.item() == pytest.approx(200)
    assert details.log_prob.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("head", ["digits", "softmax"])
def test_rows_at_a_time_change_nothing(head):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        token_lm = TokenLM(16, 16, 1, 2, 32, head=head)
    hidden = torch.randn(300, 16, generator=rng())
    with torch.no_grad():
        tokens = token_lm.pick(hidden)
        parts = measure_hidden(token_lm, hidden, tokens)
        whole = measure_logits(token_lm.logits(hidden), tokens)
    assert len(parts) == 300 and torch.equal(parts.tokens, tokens)
    torch.testing.assert_close(parts.entropy, whole.entropy)
    torch.testing.assert_close(parts.margin, whole.margin)


def test_summary_is_a_line_of_json():
    import dataclasses

    logits = torch.zeros(4, 8, 4)
    logits[:2, :, 1] = math.log(7)  # margin log 7; the others 0
    details = measure_logits(logits, levels_to_tokens(logits.argmax(-1)))
    summary = details.summary()
    assert summary.num_tokens == 4 and summary.unsure == 0.5
    assert summary.margin == pytest.approx(math.log(7) / 2)
    expected = (8 * math.log(0.7) + 8 * math.log(0.25)) / 2
    assert summary.log_prob == pytest.approx(expected)
    line = json.dumps(dataclasses.asdict(summary))
    assert json.loads(line)["entropy"] == pytest.approx(summary.entropy)


def test_details_are_cut_and_joined():
    logits = torch.randn(6, 8, 4, generator=rng())
    details = measure_logits(logits, levels_to_tokens(logits.argmax(-1)))
    joined = Details.cat([details[:2], details[2:6]])
    for name in ("tokens", "entropy", "margin", "log_prob"):
        assert torch.equal(getattr(joined, name), getattr(details, name))
    assert len(Details.cat([])) == 0
    assert math.isnan(Details.cat([]).summary().entropy)
    with pytest.raises(AttributeError):
        details.margin = None


@pytest.mark.parametrize("head", ["digits", "softmax"])
@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_picking_with_scores_is_picking_and_measuring(head, compute):
    torch.manual_seed(0)
    token_lm = TokenLM(32, 64, 1, 2, 64, head=head, compute=compute).eval()
    feats = [torch.randn(n, 32, generator=rng(n)) for n in (7, 3)]
    with torch.no_grad():
        pairs = score_each(token_lm, feats, likely=True)
        rows, runs = pack(feats)
        hidden = token_lm.hidden(rows, runs)
        alone = unpack(token_lm.pick(hidden), runs)
        expected = measure_hidden(token_lm, hidden, torch.cat(alone)).log_prob
    assert all(torch.equal(x, y) for (x, _), y in zip(pairs, alone))
    if head == "digits":
        with torch.no_grad():
            means = score_each(token_lm, feats, mean=True, likely=True)
            codes = unpack(mean_codes(token_lm.logits(hidden)), runs)
        for (x, p), y, (_, q) in zip(means, codes, pairs, strict=True):
            assert torch.equal(x, y) and torch.equal(p.log_prob, q.log_prob)
            assert torch.equal(p.tokens, q.tokens)
    found = torch.cat([known.log_prob for _, known in pairs])
    within = 1e-4 if compute == "float32" else 0.1  # rounded logits
    torch.testing.assert_close(found, expected, atol=within, rtol=0)
