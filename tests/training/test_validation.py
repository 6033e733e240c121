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
    """A vocoder that looks waves up by their first token, or its mean code."""

    def __init__(self, waves):
        super().__init__()
        self.waves = waves

    def decode_each(self, codes):
        """(N,) or (N, 8) -> (320 N,) each."""
        firsts = [x[0] if x.dim() == 1 else 11 + x[0, 0] for x in codes]
        return [self.waves[int(first)] for first in firsts]


class Listener(torch.nn.Module):
    """A token LM that hears tokens in the features."""

    head = "digits"

    def hidden(self, rows, runs):
        """The features as they are."""
        return rows

    def pick(self, hidden):
        """Round the features."""
        return hidden[:, 0].round().long()

    def logits(self, hidden):
        """Be sure of the codes -1 and 0 where the features are 10 and 11."""
        levels = (2 * hidden[:, 0] - 20).long()
        levels = torch.nn.functional.one_hot(levels, 4)
        return 1e4 * levels.float().unsqueeze(1).expand(-1, 8, -1)


class Alternating(torch.nn.Module):
    """A frontend that hears 10 and 11 in turn."""

    def __init__(self):
        super().__init__()
        self.heard = iter([10, 11] * 4)

    def extract_each(self, wavs):
        """(T,) -> (5, 1) each."""
        return [torch.full((5, 1), float(next(self.heard))) for _ in wavs]


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
    networks = Alternating(), Listener(), Lookup(waves)
    names = "frontend", "token_lm", "vocoder"
    mods = torch.nn.ModuleDict(zip(names, networks, strict=True))
    return items, (mods, "cpu")


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
    """Codes between the levels are decoded, and tokens are not."""
    items, (mods, device) = make()
    mods["token_lm"].pick = lambda hidden: hidden[:, 0].long() - 10
    quality = Quality({"words": Agreement}, 5, decoder_hears="mean")
    scores = quality("valid", items, mods, device)
    assert scores["enhanced_words"] == 0.25
    assert scores["codec_words"] == 0.0
    with pytest.raises(ValueError, match="'loud'.*best, mean"):
        Quality({}, 1, decoder_hears="loud")


def test_unknown_metric():
    """The choices are named."""
    with pytest.raises(ValueError, match="choose from dnsmos"):
        Quality({"mos": Agreement}, 1)
