"""Scores of a training lie between floor and ceiling, named by row."""

import pytest
import torch

from speechbrain_llase.metrics import WordEdits
from speechbrain_llase.training.validation import Quality


class Agreement:
    """Counts samples that differ in sign from the clean wave's."""

    made = 0

    def __init__(self):
        Agreement.made += 1

    def __call__(self, wav, clean):
        """Edits over samples; waves must be in full scale."""
        assert wav.abs().max() <= 1
        wrong = int((wav.sign() != clean.sign()).sum())
        return WordEdits(wrong, len(clean))


class Lookup(torch.nn.Module):
    """A vocoder that looks waves up by their first token."""

    def __init__(self, waves):
        super().__init__()
        self.waves = waves

    def forward(self, tokens):
        """(B, N) -> (B, 320 N)."""
        return torch.stack([self.waves[int(row[0])] for row in tokens])


class Listener(torch.nn.Module):
    """A token LM that hears tokens in the features."""

    def predict(self, feats):
        """Round the features."""
        return feats.round().long()


def make():
    """Two items, waves of their tokens, and a model that half succeeds."""
    torch.manual_seed(0)
    clean = 3 * torch.randn(2, 1600)
    waves = {k: wave / 10 for k, wave in enumerate(clean)}
    for k in range(2):
        waves[10 + k] = waves[k].clone()
        waves[10 + k][:400] *= -1
    items = [
        {
            "clean": clean[k],
            "noisy": clean[k] * torch.where(torch.arange(1600) < 800, -1, 1),
            "tokens": torch.full((5,), k),
        }
        for k in range(2)
    ]
    heard = iter([10, 11] * 4)

    def frontend(noisy):
        return torch.full((1, 5), float(next(heard)))

    return items, (frontend, Listener(), Lookup(waves), "cpu")


def test_floor_model_ceiling():
    """Half wrong, a quarter wrong, nothing wrong; measures made once."""
    items, model = make()
    quality = Quality({"words": Agreement}, 5)
    first = quality("valid", items, *model)
    assert first == {
        "noisy_words": 0.5,
        "enhanced_words": 0.25,
        "codec_words": 0.0,
    }
    assert quality("valid", items, *model) == first
    assert Agreement.made == 1


def test_every_part_has_its_own_floor_and_ceiling():
    """Those of the validation are not shown for the test."""
    items, model = make()
    quality = Quality({"words": Agreement}, 5)
    quality("valid", items, *model)
    half = [
        {key: x[: len(x) // 2] for key, x in item.items()} for item in items
    ]
    for item in half:  # the half that is wrong; the codec is of another clip
        item["tokens"] = 1 - item["tokens"]
    for _ in range(2):
        scores = quality("test", half, *model)
        assert scores["noisy_words"] == 1.0
        assert scores["codec_words"] > 0.3
        assert scores["enhanced_words"] == 0.5
    assert quality("valid", items, *model)["noisy_words"] == 0.5


def test_the_mean_is_heard_as_in_use():
    """Of a token LM that is never asked for its best tokens."""

    def logits(feats):  # features 10 and 11 -> sure of the codes -1 and 0
        levels = torch.nn.functional.one_hot((2 * feats - 20).long(), 4)
        return 1e4 * levels.float().unsqueeze(2).expand(-1, -1, 8, -1)

    def decode(codes):  # or tokens
        is_mean = codes.is_floating_point()
        return vocoder(11 + codes[..., 0] if is_mean else codes)

    items, (frontend, _, vocoder, device) = make()
    quality = Quality({"words": Agreement}, 5, decoder_hears="mean")
    scores = quality("valid", items, frontend, logits, decode, device)
    assert scores["enhanced_words"] == 0.25
    assert scores["codec_words"] == 0.0
    with pytest.raises(ValueError, match="'loud'.*best, mean"):
        Quality({}, 1, decoder_hears="loud")


def test_unknown_metric():
    """The choices are named."""
    with pytest.raises(ValueError, match="choose from dnsmos"):
        Quality({"mos": Agreement}, 1)
