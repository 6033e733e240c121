"""Settings of a whole run: workers, scores, bfloat16, accumulation, best-k."""

import re
import sys
from pathlib import Path

import pytest
import torch
import yaml

sys.path.insert(0, str(Path(__file__).parent))
import recipe_data

RECIPE = Path(__file__).parents[2] / "recipes/Folders/enhance/llase"
EPOCHS = 4
ROWS = ("noisy", "enhanced", "codec")  # floor, model, ceiling


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Data and a tiny model."""
    folder = tmp_path_factory.mktemp("settings")
    recipe_data.write_model(folder / "model", mini=True)
    recipe_data.write_folders(folder / "folders")
    return folder


@pytest.fixture
def run(work, run_script, monkeypatch):
    """A function that trains with some settings."""
    monkeypatch.chdir(work)
    given = ["--base=model", "--data_folder=folders"]
    given += ["--device=cpu", "--noprogressbar"]
    script = RECIPE / "extract_tokens.py"
    run_script(script, RECIPE / "hparams/tokens.yaml", *given)

    def run(output: str, **more) -> Path:
        settings = {"lr": 0.01, "warmup_steps": 2} | more
        run_script(
            RECIPE / "train.py",
            RECIPE / "hparams/finetune_mini.yaml",
            *given,
            *recipe_data.tiny_flags(True),
            "--fine_tuned={last_layers: [backbone.layers.1]}",
            "--batching={max_batch_length: 1.7}",
            "--grad_accumulation_factor=2",
            f"--number_of_epochs={EPOCHS}",
            f"--output_folder={output}",
            *(f"--{key}={value}" for key, value in settings.items()),
        )
        return work / output

    return run


def lines(output: Path) -> list[dict[str, float]]:
    """The figures of every epoch."""
    text = (output / "train_log.txt").read_text()
    return [
        {
            name: float(value)
            for name, value in re.findall(r"(\w+ \w+): ([\d.e+-]+)", line)
        }
        for line in text.splitlines()
    ]


@pytest.mark.slow
def test_workers_and_scores_change_nothing(run):
    """Losses are the same with processes that make items, and with scores."""
    for package in ("speechmos", "pocketsphinx", "resemblyzer"):
        pytest.importorskip(package)
    plain = lines(run("plain"))
    scored = run(
        "scored", num_workers=2, metrics_every=2, quality="{num_clips: 2}"
    )
    scored = lines(scored)
    assert len(plain) == EPOCHS
    for ours, theirs in zip(plain, scored, strict=True):
        assert ours.items() <= theirs.items()
    assert plain[-1]["train loss"] < plain[0]["train loss"]
    names = ("OVRL", "SIG", "BAK", "P808", "words", "speaker")
    wanted = {f"valid {row}_{name}" for row in ROWS for name in names}
    for epoch, figures in enumerate(scored, 1):
        extra = figures.keys() - plain[0].keys()
        assert extra == (wanted if epoch % 2 == 0 else set())
    for name in wanted:
        if "enhanced" not in name:  # floor and ceiling never change
            assert scored[1][name] == scored[3][name]
    assert scored[1]["valid codec_words"] >= 0


def test_bfloat16_learns_the_same(run):
    """In half the precision: losses a percent beside those of float32."""
    full, half = lines(run("full")), lines(run("half", precision="bf16"))
    assert half[-1]["train loss"] < half[0]["train loss"]
    for ours, theirs in zip(half, full, strict=True):
        assert ours["train loss"] == pytest.approx(theirs["train loss"], 0.02)
        assert ours["train loss"] != theirs["train loss"]


def test_the_best_and_the_last_are_kept(run):
    """Two of lowest validation loss, and the last to go on from."""
    output = run("best", keep_checkpoints=2, lr=0.3)
    losses = [figures["valid loss"] for figures in lines(output)]
    best = sorted(range(1, EPOCHS + 1), key=lambda k: losses[k - 1])[:2]
    kept = [
        yaml.safe_load((folder / "CKPT.yaml").read_text())["epoch"]
        for folder in output.glob("save/CKPT+*")
    ]
    assert sorted(kept) == sorted({*best, EPOCHS}) and len(kept) < EPOCHS
    weights = [
        torch.load(folder / "token_lm.ckpt", weights_only=True)
        for folder in output.glob("save/CKPT+*")
    ]
    count = sum(w.numel() for w in weights[0].values())
    size = max(
        folder.stat().st_size for folder in output.glob("save/*/token_lm.ckpt")
    )
    assert size < 4 * count + 20_000  # the frozen networks are not in it
