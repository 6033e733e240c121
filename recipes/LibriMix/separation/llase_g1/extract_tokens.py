#!/usr/bin/env python3
"""Recipe for tokens of Libri2Mix's speakers: the first of two steps.

To run this recipe, do the following:
> python extract_tokens.py hparams/tokens.yaml --base=MODEL --data_folder=DATA

DATA is Libri2Mix/wav16k/min; see README.md. What has its tokens already is
skipped, so start it again after a break.
"""

import sys

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from librimix_prepare import prepare_librimix

from speechbrain_llase.dataio.preparation import load_manifest
from speechbrain_llase.training.items import FileReader
from speechbrain_llase.training.token_extraction import extract_recipe

if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    prepare_librimix(hparams)
    entries = {
        f"{part}/{name}": {"clean_wav": entry["clean_wav"]}
        for part in ("train", "valid", "test")
        for name, entry in load_manifest(
            hparams["manifest_folder"], part
        ).items()
    }
    reader = FileReader(hparams["sample_rate"], resample=False)
    print(extract_recipe(hparams, run_opts, entries, reader))
