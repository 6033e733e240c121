#!/usr/bin/env python3
"""Recipe for tokens of your own clean speech: the first of two steps.

To run this recipe, do the following:
> python extract_tokens.py hparams/tokens.yaml --data_folder=DATA

DATA holds `clean` and `noise`, or `clean` and `noisy`; see README.md. What
has its tokens already is skipped, so start it again after a break. Several
processes share the work by --shard=0/4 to --shard=3/4.
"""

import sys

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml

from speechbrain_llase.dataio.preparation import (
    folder_sources,
    load_manifest,
    prepare_manifests,
)
from speechbrain_llase.training.items import FileReader
from speechbrain_llase.training.token_extraction import extract_recipe

if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    prepare_manifests(folder_sources(hparams["data_folder"]), hparams)
    entries = {
        f"{part}/{name}": entry
        for part in ("train", "valid")
        for name, entry in load_manifest(
            hparams["manifest_folder"], part
        ).items()
    }
    reader = FileReader(hparams["sample_rate"], hparams["resample"])
    print(extract_recipe(hparams, run_opts, entries, reader))
