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

Authors
 * The speechbrain_llase contributors 2026
"""

import sys

import speechbrain as sb
from dns_prepare import prepare_dns
from hyperpyyaml import load_hyperpyyaml

from speechbrain_llase.dns_shards import ShardReader, index_shards
from speechbrain_llase.extraction import extract_recipe
from speechbrain_llase.preparation import load_manifest
from speechbrain_llase.training_items import FileReader


def find_entries(hparams):
    """List the clean speech of both parts, and say how to read it."""
    rate = hparams["sample_rate"]
    if "train_shards" in hparams:
        parts = {
            "train": index_shards(hparams["train_shards"], rate),
            "valid": index_shards(hparams["valid_shards"], rate),
        }
        reader = ShardReader(with_noisy=False)
    else:
        prepare_dns(hparams)
        parts = {
            part: load_manifest(hparams["manifest_folder"], part)
            for part in ("train", "valid")
        }
        reader = FileReader(rate, hparams["resample"])
    entries = {
        f"{part}/{name}": entry
        for part, found in parts.items()
        for name, entry in found.items()
    }
    return entries, reader


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    entries, reader = find_entries(hparams)
    print(extract_recipe(hparams, run_opts, entries, reader))
