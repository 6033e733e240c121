"""What a training keeps over a kill."""

import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer

from speechbrain_llase.training.checkpointing import EpochTotals, TokenizerName


def test_another_tokenizer_is_refused(tmp_path):
    """A run that is resumed goes on with the tokens that it began with."""
    kept = TokenizerName("mel-26-0123")
    Checkpointer(tmp_path, {"tokenizer": kept}).save_checkpoint()
    same = TokenizerName("mel-26-0123")
    Checkpointer(tmp_path, {"tokenizer": same}).recover_if_possible()
    other = TokenizerName("xcodec2-4567")
    with pytest.raises(ValueError, match="of mel-26-0123, now .*xcodec2-4567"):
        Checkpointer(tmp_path, {"tokenizer": other}).recover_if_possible()


def test_sums_of_an_epoch(tmp_path):
    """Kept within an epoch, begun anew at its end."""
    tally = EpochTotals()
    tally.add(torch.tensor([6.0, 3, 1, 12]))
    wanted = {"loss": 2.0, "token_accuracy": 1 / 3, "digit_accuracy": 0.5}
    assert tally.stats() == wanted
    tally.save(tmp_path / "tally.ckpt")
    again = EpochTotals()
    again.load(tmp_path / "tally.ckpt", end_of_epoch=False)
    assert again.stats() == wanted
    again = EpochTotals()
    again.load(tmp_path / "tally.ckpt", end_of_epoch=True)
    assert not again.sums.any()
