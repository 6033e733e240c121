"""Every recipe of the CSV lists runs, in SpeechBrain's form, and learns.

Columns are those of SpeechBrain's tests/recipes. Flags are read in a folder
that holds what `recipe_data` writes; the networks' dimensions are made tiny.
"""

import csv
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parent))
import recipe_data

ROOT = Path(__file__).parents[2]
ROWS = [
    row
    for file in sorted(Path(__file__).parent.glob("*.csv"))
    for row in csv.DictReader(file.read_text().splitlines())
]
TRAININGS = [  # those of RescueSpeech run in tests/asr, where a recogniser is
    row
    for row in ROWS
    if row["Script_file"].endswith("train.py")
    and row["Dataset"] != "RescueSpeech"
]


def named(row: dict) -> str:
    """A row's name in reports."""
    return f"{row['Dataset']}-{Path(row['Hparam_file']).stem}"


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Data and tiny models."""
    folder = tmp_path_factory.mktemp("recipes")
    recipe_data.write_model(folder / "model")
    recipe_data.write_model(folder / "mini", mini=True)
    recipe_data.write_g1(folder / "g1", folder / "model")
    recipe_data.write_folders(folder / "folders")
    recipe_data.write_librimix(folder / "librimix")
    recipe_data.write_voicebank(folder / "voicebank")
    recipe_data.write_dns_shards(folder / "dns")
    return folder


@pytest.fixture
def run(work, run_script, monkeypatch):
    """A function that runs a row's script in this process."""
    monkeypatch.chdir(work)

    def run(row: dict, *more: str, **token_lm) -> Path:
        script = ROOT / row["Script_file"]
        output = work / "out" / named(row)
        flags = shlex.split(row["test_debug_flags"])
        argv = [str(ROOT / row["Hparam_file"]), *flags, *more]
        argv += ["--device=cpu", "--noprogressbar"]
        if script.name == "train.py":
            mini = "finetune_mini" in row["Hparam_file"]
            g1 = "--base=g1" in flags
            argv += recipe_data.tiny_flags(mini, g1, **token_lm)
            argv += [f"--output_folder={output}"]
        run_script(script, *argv)
        return output

    return run


def tokens_for(row: dict, run) -> None:
    """Run the extraction that stands above a training."""
    above = ROWS[: ROWS.index(row)]
    extraction = [r for r in above if "extract_tokens" in r["Script_file"]][-1]
    run(extraction)


def logged(output: Path, name: str) -> list[float]:
    """One value of every epoch's line in a training's log."""
    text = (output / "train_log.txt").read_text()
    return [float(x) for x in re.findall(rf"{name}: ([\d.e+-]+)", text)]


def check(row: dict, output: Path) -> None:
    """Apply a row's test_debug_checks."""
    checks = row["test_debug_checks"]
    (files,) = re.findall(r"file_exists=\[(.*?)\]", checks)
    for name in files.split(","):
        assert (output / name).exists(), name
    limits = re.findall(
        r"performance_check=\[(.+?), (.+?), <(.+?), epoch: -1\]", checks
    )
    for log, name, limit in limits:
        assert log == "train_log.txt"
        assert logged(output, name)[-1] < float(limit)


@pytest.mark.parametrize("row", TRAININGS, ids=named)
def test_recipe(row, run):
    """Two epochs write the files, lower the loss, and can be published."""
    from speechbrain_llase import EnhanceLLaSE
    from speechbrain_llase.pretrained.publish import find_checkpoint, publish

    tokens_for(row, run)
    output = run(row)
    check(row, output)
    losses = logged(output, "train loss")
    assert len(losses) == 2 and losses[1] < losses[0]
    assert all(0 <= x <= 1 for x in logged(output, "token_accuracy"))
    if row["Dataset"] in ("Voicebank", "LibriMix"):
        assert len(logged(output, "test loss")) == 1
    saved = torch.load(find_checkpoint(output) / "token_lm.ckpt")
    assert not any(name.startswith("wavlm") for name in saved)
    folder = output.with_name(output.name + "-published")
    manifest = publish(output, folder, "float32")
    best = min(logged(output, "valid loss"))
    assert manifest["training"]["checkpoint_loss"] == pytest.approx(
        best, rel=1e-5
    )
    enhancer = EnhanceLLaSE.from_hparams(folder, run_opts={"device": "cpu"})
    assert enhancer.enhance_batch(torch.rand(1, 8000) - 0.5).shape == (1, 8000)


def test_refiner_learns_on(run, work, capsys):
    """On a user's folder; published, it takes the place of its base's."""
    from speechbrain_llase import EnhanceLLaSE
    from speechbrain_llase.cli.parser import main
    from speechbrain_llase.pretrained.publish import publish

    row = next(r for r in ROWS if "finetune_refiner" in r["Script_file"])
    output = work / "out" / named(row)
    run(row, f"--output_folder={output}")
    check(row, output)
    losses = logged(output, "train loss")
    assert len(losses) == 3 and losses[-1] < losses[0]
    folder = output.with_name("refined")
    manifest = publish(output, folder, "float32")
    assert manifest["training"]["checkpoint_loss"] == pytest.approx(
        min(logged(output, "valid loss")),
        rel=2e-3,  # of three digits
    )
    noisy = torch.rand(1, 8000) - 0.5
    old, new = (
        EnhanceLLaSE.from_hparams(source, run_opts={"device": "cpu"})
        for source in (work / "mini", folder)
    )
    for name in ("frontend", "token_lm", "vocoder"):
        ours, theirs = (x.mods[name].state_dict() for x in (new, old))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert not torch.equal(new.enhance_batch(noisy), old.enhance_batch(noisy))
    assert "refiner was trained" in (folder / "README.md").read_text()
    half = output.with_name("half")
    assert (
        main(["publish", str(output), f"--output={half}", "--share=0.5"]) == 0
    )
    manifest = json.loads((half / "manifest.json").read_text())
    assert manifest["training"]["share"] == 0.5
    run(row, f"--output_folder={output}")
    assert "is used as it is" in capsys.readouterr().out


@pytest.mark.parametrize(
    "row", [*{row["Script_file"]: row for row in TRAININGS}.values()], ids=named
)
def test_debug_flag(row, run):
    """--debug runs two batches of two epochs, with every script."""
    tokens_for(row, run)
    output = run(row | {"Dataset": f"{row['Dataset']}-debug"}, "--debug")
    assert len(logged(output, "train loss")) == 2


def test_lists_name_what_is_there():
    """Files of every row exist, and every YAML of these recipes has a row."""
    for row in ROWS:
        for column in ("Script_file", "Hparam_file", "Data_prep_file"):
            if row[column] or column != "Data_prep_file":
                assert (ROOT / row[column]).is_file(), row[column]
        assert (ROOT / row["Readme_file"]).is_file(), row["Readme_file"]
    listed = {ROOT / row["Hparam_file"] for row in ROWS}
    for folder in {path.parent for path in listed}:
        assert set(folder.glob("*.yaml")) <= listed


@pytest.mark.parametrize(
    "yaml", sorted({row["Hparam_file"] for row in ROWS}), ids=str
)
def test_every_key_is_used(yaml):
    """By a script, by the training, by another key, or a run option."""
    text = (ROOT / yaml).read_text()
    scripts = "".join(
        path.read_text()
        for path in [
            *(ROOT / yaml).parents[1].glob("*.py"),
            *(
                ROOT / f"speechbrain_llase/{name}.py"
                for name in (
                    "training/brain",
                    "training/refiner_brain",
                    "training/token_extraction",
                    "training/dns_shards",
                    "dataio/preparation",
                )
            ),
        ]
    )
    options = {
        "precision",
        "ckpt_interval_minutes",
        "grad_accumulation_factor",
        "max_grad_norm",
    }
    for key in re.findall(r"^([a-z]\w*):", text, re.MULTILINE):
        assert (
            f"<{key}>" in text
            or f'hparams["{key}"]' in scripts
            or f"hparams.{key}" in scripts
            or f'hparams, "{key}"' in scripts  # that a YAML may lack
            or key in options
        ), key


def test_base_of_another_size(run, work):
    """Weights that do not fit the YAML are refused by name."""
    row = next(r for r in TRAININGS if "finetune_mini" in r["Hparam_file"])
    tokens_for(row, run)
    shutil.rmtree(work / "out" / named(row), ignore_errors=True)
    with pytest.raises(ValueError, match="does not fit TokenLM"):
        run(row, ffn_size=48)


def test_checkpoint_of_another_size(run):
    """A run is not resumed with low-rank updates of another rank."""
    row = next(r for r in TRAININGS if "finetune_llase" in r["Hparam_file"])
    tokens_for(row, run)
    rows = [
        row
        | {"Dataset": "rank"}
        | {
            "test_debug_flags": row["test_debug_flags"].replace(
                "train: lora", f"train: lora, lora_rank: {rank}"
            )
        }
        for rank in (4, 8)
    ]
    output = run(rows[0])
    with pytest.raises(ValueError, match="does not fit a token LM of this"):
        run(rows[1])
    assert len(logged(output, "train loss")) == 2


def test_bad_files_stop_nothing(run, work, caplog):
    """NaN, cut off, silent, long; noise that is cut off: named, left out."""
    rows = [r for r in ROWS if r["Dataset"] == "Folders"][:2]
    rng = np.random.default_rng(0)
    recipe_data.write_folders(work / "bad")
    wave = recipe_data.speech(rng, 3)
    for file in ("clean/train/cut.flac", "noise/train/cut.flac"):
        recipe_data.write(work / "bad" / file, wave)
        content = (work / "bad" / file).read_bytes()
        (work / "bad" / file).write_bytes(content[: len(content) // 2])
    recipe_data.write(work / "bad/clean/train/silent.wav", 0 * wave)
    recipe_data.write(work / "bad/noise/train/silent.wav", 0 * wave)
    recipe_data.write(work / "bad/clean/train/long.wav", wave)
    wave[1000] = np.nan
    path = work / "bad/clean/train/nan.wav"
    soundfile.write(path, wave, recipe_data.RATE, subtype="FLOAT")
    wanted = {
        "4 of 12 entries": ("cut.flac", "silent.wav", "long.wav", "nan.wav"),
        "2 of 4 entries": ("cut.flac", "silent.wav"),
    }
    for row in rows:
        flags = row["test_debug_flags"].replace("folders", "bad")
        more = ["--most_bad=0.5", "--longest_s=2.0"]
        output = run(row | {"Dataset": "bad", "test_debug_flags": flags}, *more)
        log = output / "log.txt"  # of train.py, whose logging is its own
        text = log.read_text() if log.is_file() else caplog.text
        for begin, names in wanted.items():
            (line,) = [x for x in text.splitlines() if begin in x]
            assert all(line.count(name) == 1 for name in names)
    losses = logged(output, "train loss")
    assert len(losses) == 2 and losses[1] < losses[0]
    with pytest.raises(ValueError, match="4 of 12 .* share of 0.01"):
        run(rows[1] | {"test_debug_flags": flags}, "--longest_s=2.0")


def test_tokens_of_another_codec(run, work):
    """Refused before anything is trained, and it is said what to do."""
    row = next(r for r in TRAININGS if "finetune_mini" in r["Hparam_file"])
    tokens_for(row, run)
    other = work / "other"
    shutil.copytree(work / "mini", other)
    weights = load_file(other / "encoder.ckpt")
    save_file({k: w + 1 for k, w in weights.items()}, other / "encoder.ckpt")
    with pytest.raises(ValueError, match="wanted are those of mel.*same base"):
        flags = row["test_debug_flags"].replace("base=mini", "base=other")
        run(row | {"Dataset": "other", "test_debug_flags": flags})
