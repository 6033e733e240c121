"""Model folders of before the packages were named load and give the same.

old_folders/ holds what commit 64c28e9 wrote, with its dotted names: a small
model as published, one fine-tuned from such a base, and the YAML of one
converted from the stand-ins of the official files, whose weights are
converted anew here. The refiner of the fine-tuned one is the published one's.
"""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.cli import main

OLD = Path(__file__).with_name("old_folders")


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """The waves and tokens that commit 64c28e9 gave."""
    with np.load(OLD / "expected.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, stand_in_files) -> Path:
    """The three folders, complete."""
    root = tmp_path_factory.mktemp("old")
    shutil.copytree(OLD, root, dirs_exist_ok=True)
    shutil.copy(root / "published/refiner.ckpt", root / "fine_tuned")
    files = {
        "--wavlm": "WavLM-Large.pt",
        "--lm": "best.pt.tar",
        "--codec": "xcodec2.ckpt",
        "--output": root / "new",
    }
    options = [
        str(x) for k, v in files.items() for x in (k, stand_in_files / v)
    ]
    heads = "--lm-heads 4 --codec-heads 2 --dtype float16".split()
    assert main(["convert", *options, *heads]) == 0
    for file in (root / "new").glob("*.ckpt"):
        shutil.copy(file, root / "converted")
    return root


@pytest.mark.parametrize("kind", ["published", "fine_tuned", "converted"])
def test_old_folder_gives_the_same_samples(kind, folders, expected, tmp_path):
    """Tokens are identical, waves to rounding, on any machine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = EnhanceLLaSE.from_hparams(
            folders / kind, run_opts={"device": "cpu"}, savedir=tmp_path
        )
    noisy = torch.from_numpy(expected["noisy"])[None]
    tokens = model.tokenize(noisy)[0].numpy()
    np.testing.assert_array_equal(tokens, expected[f"{kind}_tokens"])
    enhanced = model.enhance_batch(noisy)[0].numpy()
    # pitches were of float32 then: up to 1e-4 on Intel, 1.5e-4 on AMD
    np.testing.assert_allclose(enhanced, expected[kind], atol=3e-4)


@pytest.mark.parametrize(
    "line",
    [
        "from speechbrain_llase.cli import build_parser",
        "from speechbrain_llase.inference import EnhanceLLaSE",
        "from speechbrain_llase.plot import plot_enhancement",
        "from speechbrain_llase.plot import plot_spectrograms",
        "from speechbrain_llase.tracks import track_file, track_wave",
        "from speechbrain_llase.panels import draw_levels, label_time",
        "from speechbrain_llase.runs.overview import read_run",
        "from speechbrain_llase.metrics import check_rate",
        "from speechbrain_llase.metrics.reading import HUB_ASR, load_asr",
    ],
)
def test_imports_that_the_documentation_showed(line):
    """They go on working; a module that moved is the same module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        exec(line, {})


def test_an_old_home_warns_once_and_is_its_new_home():
    """The old name says the new one, and gives no copy."""
    import sys

    sys.modules.pop("speechbrain_llase.token_lm", None)
    with pytest.warns(DeprecationWarning, match="lobes.token_lm") as caught:
        import speechbrain_llase.token_lm as old
    from speechbrain_llase.lobes import token_lm as new

    assert old is new
    assert new.__spec__.name == "speechbrain_llase.lobes.token_lm"
    assert len(caught) == 1
