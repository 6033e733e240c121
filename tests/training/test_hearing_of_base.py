"""What a base says of hearing is what its training hears."""

import torch

from speechbrain_llase.processing.hearing import hear
from speechbrain_llase.training.brain import hear_rows, hears_speech


def test_the_base_says_how_it_hears(tmp_path):
    """Its YAML does; a folder without the line divides by the peak."""
    yaml = tmp_path / "hyperparams.yaml"
    assert not hears_speech(str(tmp_path))
    yaml.write_text("restore_level: True\n# hears: speech\n")
    assert not hears_speech(str(tmp_path))
    yaml.write_text("restore_level: True\nhears: speech  # one level\n")
    assert hears_speech(str(tmp_path))


def test_rows_are_heard_without_their_padding():
    """As each would be alone; what lies past its end stays silent."""
    noisy = 0.01 * torch.randn(2, 8000) + 0.3
    noisy[1, 5000:] = 0
    heard = hear_rows(noisy, torch.tensor([1.0, 0.625]))
    assert torch.equal(heard[0], hear(noisy[0])[0])
    assert torch.equal(heard[1, :5000], hear(noisy[1, :5000])[0])
    assert not heard[1, 5000:].any()
