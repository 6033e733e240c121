"""A batch gives each item what it gets alone, whatever the padding."""

from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.nnet.packing import each_run, pack, unpack


def test_packed_items_come_back():
    items = [torch.rand(n, 3) for n in (4, 4, 2, 7, 2)]
    rows, runs = pack(items)
    assert rows.shape == (19, 3) and runs == [(2, 4), (1, 2), (1, 7), (1, 2)]
    back = unpack(rows, runs)
    assert all(torch.equal(a, b) for a, b in zip(items, back, strict=True))
    mean = each_run(lambda x: x - x.mean(1, keepdim=True), rows, runs)
    for item, part in zip(items, unpack(mean, runs), strict=True):
        torch.testing.assert_close(part, item - item.mean(0))


def check(model: EnhanceLLaSE, seconds: list[float]) -> None:
    """Compare tokens and waves of a ragged batch with those of its items."""
    rng = torch.Generator().manual_seed(3)
    items = [0.1 * torch.randn(int(s * 16000), generator=rng) for s in seconds]
    batch = torch.nn.utils.rnn.pad_sequence(items, batch_first=True)
    batch = torch.nn.functional.pad(batch, (0, 1000))
    lengths = torch.tensor([len(x) for x in items]) / batch.shape[1]
    tokens = model.predict_tokens(batch, lengths)
    waves = model.enhance_batch(batch, lengths)
    for k, item in enumerate(items):
        alone = model.predict_tokens(item[None])[0]
        assert torch.equal(tokens[k, : len(alone)], alone)
        assert (tokens[k, len(alone) :] == -1).all()
        wave = model.enhance_batch(item[None])[0]
        assert float((waves[k, : len(item)] - wave).abs().max()) < 1e-4
        assert not waves[k, len(item) :].any()


@pytest.mark.parametrize("scheme", ["own", "joined"])
@pytest.mark.parametrize("window_batch", [1, 3, 16])
def test_ragged_batch_is_its_items(load_tiny, scheme, window_batch):
    model = load_tiny(
        window_s=1.0,
        context_s=0.2,
        context_from=scheme,
        window_batch=window_batch,
    )
    check(model, [2.0, 0.5, 1.337, 0.03, 2.0])


@pytest.mark.slow
def test_ragged_batch_at_full_size():
    """Official dimensions, random weights, float32."""
    path = Path(resolve_source("llase")) / "hyperparams.yaml"
    text = path.read_text().split("pretrainer:")[0]
    torch.manual_seed(0)
    hparams = load_hyperpyyaml(text, {"window_batch": 4})
    model = EnhanceLLaSE(hparams["modules"], hparams, {"device": "cpu"})
    check(model, [2.0, 3.1, 2.6])
