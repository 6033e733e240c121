#!/usr/bin/env python3
"""Recipe for LLaSE-G1 that separates two speakers: the second of two steps.

To run this recipe, do the following, after extract_tokens.py:
> python train.py hparams/finetune.yaml --base=MODEL --data_folder=DATA

DATA is Libri2Mix/wav16k/min; see README.md. Started again, a run goes on where
it stopped. At the end the best checkpoint is tested.
"""

import sys

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from librimix_prepare import prepare_librimix
from speechbrain.utils.distributed import run_on_main

from speechbrain_llase.dataio.preparation import load_manifest
from speechbrain_llase.training.brain import Part, train_token_lm
from speechbrain_llase.training.items import FileReader
from speechbrain_llase.training.multitask import TaskBrain, TaskItemMaker
from speechbrain_llase.training.token_extraction import open_tokens


def dataio_prep(hparams, tokens):
    """Make the parts of the data out of the lists."""
    rate = hparams["sample_rate"]
    segments = {"train": hparams["segment_s"], "valid": None, "test": None}
    parts = {}
    for part, segment_s in segments.items():
        maker = TaskItemMaker(
            FileReader(rate, resample=False),
            tokens,
            None,
            None if segment_s is None else round(segment_s * rate),
            hparams["seed"],
            task="ss",
        )
        entries = load_manifest(hparams["manifest_folder"], part)
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
    run_on_main(prepare_librimix, args=[hparams])
    tokens = open_tokens(hparams)
    parts = dataio_prep(hparams, tokens)
    train_token_lm(hparams, run_opts, parts, tokens.tokenizer_id, TaskBrain)
