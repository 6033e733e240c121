"""A small model of several tasks from llase_mini, and clips to score it on."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

sys.path.insert(0, str(Path(__file__).parent))
import recipe_data

from speechbrain_llase import EnhanceLLaSE, LLaSEG1
from speechbrain_llase.nnet.fsq import tokens_to_levels

RECIPE = Path(__file__).parents[2] / "recipes/Folders/enhance/llase"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The folders of the recipe, and the model that begins."""
    folder = tmp_path_factory.mktemp("tasks")
    recipe_data.write_folders(folder / "data", 24)
    script = runpy.run_path(str(RECIPE / "start_tasks.py"))
    given = ["--clean", str(folder / "data/clean/train")]
    assert script["main"]([*given, str(folder / "base")]) == 0
    with pytest.raises(SystemExit):  # never over a folder that is there
        script["main"]([*given, str(folder / "base")])
    return folder


def test_it_enhances_as_before_and_hears_no_reference_yet(data):
    own = {"run_opts": {"device": "cpu"}}
    plain = {"hears": "peak", "refine": False}
    plain = EnhanceLLaSE.from_hparams("llase_mini", overrides=plain, **own)
    model = LLaSEG1.from_hparams(data / "base", **own)
    rng = np.random.default_rng(9)
    wav = torch.from_numpy(recipe_data.speech(rng, 3.0))[None]
    levels = [tokens_to_levels(x.predict_tokens(wav)) for x in (plain, model)]
    assert (levels[0] == levels[1]).float().mean() > 0.75
    waves = [wav.flip(1), torch.zeros_like(wav)]
    ways = [model.cancel_echo_batch(wav, x, aligns=False) for x in waves]
    torch.testing.assert_close(*ways)


def test_it_is_trained(data, run_script, monkeypatch):
    """By the settings beside it; then a reference is heard."""
    monkeypatch.chdir(data)
    given = ["--base=base", "--data_folder=data", "--device=cpu"]
    script = RECIPE / "extract_tokens.py"
    run_script(script, RECIPE / "hparams/tokens.yaml", *given)
    more = ["--task=aec", "--fine_tuned={train: all}", "--lr=0.001"]
    more += ["--warmup_steps=1", "--number_of_epochs=1", "--num_workers=0"]
    more += ["--grad_accumulation_factor=1", "--precision=fp32"]
    more += ["--batching={max_batch_length: 8.0}", "--noprogressbar"]
    run_script(RECIPE / "train.py", "base/finetune.yaml", *given, *more)
    text = (data / "results/finetune_g1/1/train_log.txt").read_text()
    assert "epoch: 1" in text and "nan" not in text


def test_clips_are_what_they_say(data, monkeypatch):
    """Voices add up, packets are lost, and the filter takes echo away."""
    script = runpy.run_path(str(RECIPE / "make_task_clips.py"))
    where = data / "data"
    given = ["--clean", where / "clean", "--noise", where / "noise", "--count"]
    given += ["2", data / "clips"]
    for name in ("3.wav", "4.wav"):  # a speaker of more than one utterance
        path = where / "clean/train" / name
        path.rename(path.parents[1] / "valid" / name)
    assert script["main"](list(map(str, given))) == 0

    def read(name):
        return soundfile.read(data / "clips" / name, dtype="float32")[0]

    def db(wave):
        return 10 * np.log10(np.square(wave).mean())

    for clip in ("00", "01"):
        noisy = read(f"ss/noisy/{clip}.wav")
        voices = [read(f"ss/clean/{clip}_{k}.wav") for k in (1, 2)]
        assert db(voices[0]) > db(voices[1])
        assert db(noisy - sum(voices)) < db(voices[1]) - 19
        lossy, clean = (read(f"plc/{x}/{clip}.wav") for x in ("noisy", "clean"))
        assert 0.02 < (lossy == 0).mean() < 0.9 and clean.any()
        far, left = (read(f"far/{x}/{clip}.wav") for x in ("noisy", "nlms"))
        assert db(left) < db(far) - 2
        assert len(read(f"tse/codec/{clip}.wav")) == len(
            read(f"tse/noisy/{clip}.wav")
        )
