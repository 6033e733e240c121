"""`speechbrain-llase models`: what is packaged, how large, under what licence."""

import re

from speechbrain_llase.cli import main
from speechbrain_llase.inference.sources import packaged_models


def test_every_packaged_model_is_listed(capsys):
    assert main(["models"]) == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    found = dict(block.split("\n", 1) for block in blocks)
    folders = packaged_models()
    assert (
        found.keys()
        == folders.keys()
        == {
            "llase",
            "llase_g1",
            "llase_mini",
        }
    )
    mini = found["llase_mini"]
    megabytes = float(re.search(r"weights +([\d.]+) MB", mini)[1])
    files = folders["llase_mini"].glob("*.ckpt")
    assert abs(megabytes - sum(x.stat().st_size for x in files) / 1e6) < 0.1
    assert "licence  Apache-2.0" in mini
    card = (
        folders["llase_mini"] / "MODEL_CARD.md"
    )  # in the package, so installed
    assert card.is_file() and f"card     {card}" in mini
    assert "CC-BY-NC-4.0" in found["llase"]
    assert "speechbrain-llase download" in found["llase"]
