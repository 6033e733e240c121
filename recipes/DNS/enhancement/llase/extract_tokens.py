#!/usr/bin/env python3
"""Recipe for tokens of DNS-Challenge's clean speech: the first of two steps.

To run this recipe, do one of the following:
> python extract_tokens.py hparams/tokens.yaml --base=MODEL \
    --clean=CLEAN --noise=NOISE
> python extract_tokens.py hparams/tokens_shards.yaml --base=MODEL \
    --data_folder=synthesized_data_shards

CLEAN and NOISE are folders or lists; see README.md. What has its tokens
already is skipped, so start it again after a break. Several processes share
the work by --shard=0/4 to --shard=3/4, or under torchrun.
"""

import sys

import speechbrain as sb
from dns_prepare import prepare_dns
from hyperpyyaml import load_hyperpyyaml

from speechbrain_llase.dataio.preparation import load_manifest
from speechbrain_llase.training.dns_shards import (
    ShardReader,
    load_shards,
    prepare_shards,
)
from speechbrain_llase.training.items import FileReader
from speechbrain_llase.training.token_extraction import extract_recipe


def find_entries(hparams):
    """List the clean speech of both parts, and say how to read it."""
    if "train_shards" in hparams:
        prepare_shards(hparams)
        load, reader = load_shards, ShardReader(with_noisy=False)
    else:
        prepare_dns(hparams)
        load = load_manifest
        reader = FileReader(hparams["sample_rate"], hparams["resample"])
    entries = {
        f"{part}/{name}": entry
        for part in ("train", "valid")
        for name, entry in load(hparams["manifest_folder"], part).items()
    }
    return entries, reader


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    entries, reader = find_entries(hparams)
    print(extract_recipe(hparams, run_opts, entries, reader))
