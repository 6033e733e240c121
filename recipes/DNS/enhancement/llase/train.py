#!/usr/bin/env python3
"""Recipe for LLaSE's token LM on DNS-Challenge: the second of two steps.

To run this recipe, do one of the following, after extract_tokens.py:
> python train.py hparams/train.yaml --base=MODEL --clean=CLEAN --noise=NOISE
> python train.py hparams/train_shards.yaml --base=MODEL \
    --data_folder=synthesized_data_shards
> python train.py hparams/finetune.yaml --base=MODEL --clean=CLEAN --noise=NOISE
> torchrun --standalone --nproc_per_node=8 train.py hparams/train.yaml ...

CLEAN and NOISE are what extract_tokens.py was given; see README.md. Started
again, a run goes on where it stopped.
"""

import sys

import speechbrain as sb
from dns_prepare import prepare_dns
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import run_on_main

from speechbrain_llase.augment.noise_mixer import NoiseMixer
from speechbrain_llase.dataio.preparation import load_manifest
from speechbrain_llase.training.brain import Part, train_token_lm
from speechbrain_llase.training.dns_shards import (
    ShardReader,
    load_shards,
    prepare_shards,
)
from speechbrain_llase.training.items import FileReader, ItemMaker
from speechbrain_llase.training.token_extraction import open_tokens


def dataio_prep(hparams, tokens):
    """Make the parts of the data, out of shards or of lists."""
    rate = hparams["sample_rate"]
    parts = {}
    for part, segment_s in (("train", hparams["segment_s"]), ("valid", None)):
        if "train_shards" in hparams:
            entries = load_shards(hparams["manifest_folder"], part)
            reader, mixer = ShardReader(), None
        else:
            entries = load_manifest(hparams["manifest_folder"], part)
            reader = FileReader(rate, hparams["resample"])
            mixer = mixer_for(hparams, part)
        segment = None if segment_s is None else round(segment_s * rate)
        maker = ItemMaker(reader, tokens, mixer, segment, hparams["seed"])
        parts[part] = Part(entries, maker, segment_s)
    return parts


def mixer_for(hparams, part):
    """Draw from the noise of a part and from all rooms."""
    noises, rirs = (
        [
            entry["clean_wav"]
            for entry in load_manifest(
                hparams["manifest_folder"], name
            ).values()
        ]
        for name in (f"noise_{part}", "rir")
    )
    return NoiseMixer(
        noises,
        rirs,
        sample_rate=hparams["sample_rate"],
        resample=hparams["resample"],
        **hparams["mixtures"],
    )


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.utils.distributed.ddp_init_group(run_opts)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    prepare = prepare_shards if "train_shards" in hparams else prepare_dns
    run_on_main(prepare, args=[hparams])
    tokens = open_tokens(hparams)
    parts = dataio_prep(hparams, tokens)
    train_token_lm(hparams, run_opts, parts, tokens.tokenizer_id)
