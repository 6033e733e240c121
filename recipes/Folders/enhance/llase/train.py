#!/usr/bin/env python3
"""Recipe for an enhancer of your own recordings: the second of two steps.

To run this recipe, do the following, after extract_tokens.py:
> python train.py hparams/finetune_mini.yaml --data_folder=DATA
> python train.py hparams/finetune_g1.yaml --data_folder=DATA --base=llase_g1 \
    --task=aec

DATA is the folder that extract_tokens.py was given. Started again, a run goes
on where it stopped.
"""

import sys

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import run_on_main

from speechbrain_llase.augment.noise_mixer import NoiseMixer
from speechbrain_llase.augment.task_mixer import TaskMixer
from speechbrain_llase.dataio.preparation import (
    folder_sources,
    load_manifest,
    prepare_manifests,
)
from speechbrain_llase.training.brain import (
    Part,
    TokenLMBrain,
    train_token_lm,
)
from speechbrain_llase.training.items import FileReader, ItemMaker
from speechbrain_llase.training.multitask import TaskBrain, TaskItemMaker
from speechbrain_llase.training.token_extraction import open_tokens


def dataio_prep(hparams, tokens):
    """Make the parts of the data out of the lists."""
    folder = hparams["manifest_folder"]
    rate, resample = hparams["sample_rate"], hparams["resample"]
    rirs = [e["clean_wav"] for e in load_manifest(folder, "rir").values()]
    parts, own = {}, {}
    if "task" in hparams:  # of LLaSE-G1
        own = {"task": hparams["task"]}
    for part, segment_s in (("train", hparams["segment_s"]), ("valid", None)):
        entries = load_manifest(folder, part)
        noises = load_manifest(folder, f"noise_{part}").values()
        mixer = None
        if noises:
            settings = {"sample_rate": rate, "resample": resample}
            settings |= hparams["mixtures"]
            given = [entry["clean_wav"] for entry in noises], rirs
            mixer = (
                TaskMixer(*given, entries, **own, **settings)
                if own
                else NoiseMixer(*given, **settings)
            )
        maker = (TaskItemMaker if own else ItemMaker)(
            FileReader(rate, resample),
            tokens,
            mixer,
            None if segment_s is None else round(segment_s * rate),
            hparams["seed"],
            **own,
        )
        parts[part] = Part(entries, maker, segment_s)
    return parts


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.utils.distributed.ddp_init_group(run_opts)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    run_on_main(
        prepare_manifests,
        args=[folder_sources(hparams["data_folder"]), hparams],
    )
    tokens = open_tokens(hparams)
    parts = dataio_prep(hparams, tokens)
    kind = TaskBrain if "task" in hparams else TokenLMBrain
    train_token_lm(hparams, run_opts, parts, tokens.tokenizer_id, kind)
