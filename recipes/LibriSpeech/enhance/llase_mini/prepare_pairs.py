#!/usr/bin/env python3
"""Mixtures with the waves that a published model decodes, in one file.

To run this script, do the following, after publish.py:
> python prepare_pairs.py --data DATA --model PLAIN --output pairs.npy \
>     --number 5000

float16 (number, 4, 64000): the mixture as the model hears it, the target at
the same gain, the decoded wave, and the speech as it was recorded, with its
own background, at that gain. In a share of them the decoded wave comes of
the right tokens, up to a third of them wrong, so that the refiner learns to
take more from a better one and to distrust it all the same. 0.5 MB and 80 ms
of a core each. `--part dev` draws from what development.json names.
"""

import argparse
from pathlib import Path

import torch
from wide_data import DEVELOPMENT, read_waves

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.augment.target_mixtures import TargetSampler
from speechbrain_llase.lobes.mel_codec import load_codec
from speechbrain_llase.training.decoded_pairs import BATCH, write_pairs

SEGMENT_S = 4.0
MIXTURES = {
    "snr_db": (-8.0, 26.0),
    "likely_snr_db": 6.0,
    "rir_prob": 0.38,
    "recorded_rir_prob": 0.65,
    "rt60_s": (0.1, 1.2),
    "synthetic_prob": 0.33,
    "babble_prob": 0.08,
    "fault_prob": 0.1,
    "speed": (0.85, 1.18),
    "eq_db": 8.0,
    "silent_prob": 0.02,
}


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", required=True, help="folder with clean, noise, rir, more")
    add("--model", required=True, help="model folder, without a refiner")
    add("--codec", help="model folder with the encoder; else that of --model")
    add("--output", type=Path, required=True, help="an .npy file")
    add("--number", type=int, required=True)
    add("--part", choices=("train", "dev"), default="train")
    add("--development", default=DEVELOPMENT, help="what --part dev reads")
    add("--seed", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    waves = read_waves(args.data, args.part, args.development)
    sampler = TargetSampler(**waves, segment_s=SEGMENT_S, **MIXTURES)
    model = EnhanceLLaSE.from_hparams(
        args.model,
        run_opts={"device": "cpu"},
        overrides={"compute": "auto", "window_batch": BATCH},
    )
    encoder = load_codec(args.codec or args.model).mods.encoder
    number, seed = args.number, args.seed
    write_pairs(args.output, sampler.pair, number, model, encoder, seed)


if __name__ == "__main__":
    main()
