#!/usr/bin/env python3
"""Recipe for tokens of Voicebank's clean speech: the first of two steps.

To run this recipe, do the following:
> python extract_tokens.py hparams/tokens.yaml --base=MODEL --data_folder=DATA

DATA is Voicebank-DEMAND at 16 kHz; see README.md. What has its tokens already
is skipped, so start it again after a break.
"""

import sys

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml
from voicebank_prepare import prepare_voicebank

from speechbrain_llase.dataio.manifests import read_manifest
from speechbrain_llase.training.items import FileReader
from speechbrain_llase.training.token_extraction import extract_recipe

if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    folder, root = hparams["manifest_folder"], hparams["data_folder"]
    prepare_voicebank(
        root, folder, hparams["valid_speaker_count"], hparams["skip_prep"]
    )
    entries = {
        f"{part}/{name}": {"clean_wav": entry["clean_wav"]}
        for part in ("train", "valid", "test")
        for name, entry in read_manifest(f"{folder}/{part}.json", root).items()
    }
    reader = FileReader(hparams["sample_rate"], resample=False)
    print(extract_recipe(hparams, run_opts, entries, reader))
