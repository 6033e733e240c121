#!/usr/bin/env python3
"""Recipe for the predictive half of llase_mini.

To run this recipe, do the following, after prepare_pairs.py:
> python train_spectral_refiner.py hparams/spectral_refiner.yaml \
    --pairs=pairs.npy --valid_pairs=valid.npy

The pairs hold mixtures, targets and decoded waves; each batch takes crops of
them. Decoded waves are left out, damaged, another's or nearly right in a part
of the batch, so that the refiner learns when to lean on them. Judges of
spectrograms learn beside it. Matrices are updated by Muon (torch from 2.9 on),
the other weights by AdamW. `--init=average.ckpt` begins with an earlier
average. `publish.py --refiner` puts it into the model.
"""

import sys

import speechbrain as sb
from hyperpyyaml import load_hyperpyyaml

from speechbrain_llase.training.refiner_brain import train_refiner

if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    train_refiner(hparams, run_opts)
