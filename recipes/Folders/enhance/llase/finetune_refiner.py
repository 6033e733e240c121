#!/usr/bin/env python3
"""Recipe for an enhancer of your own recordings: its refiner learns on.

To run this recipe, do the following:
> python finetune_refiner.py hparams/finetune_refiner.yaml --data_folder=DATA
> speechbrain-llase publish results/finetune_refiner/1 --output tuned

DATA is a folder with clean and noise, or with clean and noisy; no tokens are
needed. Mixtures are drawn and decoded once, into pairs.npy and
valid_pairs.npy below the output folder; then the refiner of `base` learns from
crops of them. Started again, a run goes on where it stopped.
"""

import sys
from pathlib import Path

import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.augment.target_mixtures import (
    RecordedPairs,
    TargetSampler,
)
from speechbrain_llase.dataio.preparation import (
    folder_sources,
    load_manifest,
    prepare_manifests,
)
from speechbrain_llase.dataio.recordings import read_speech
from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.lobes.mel_codec import load_codec
from speechbrain_llase.training.decoded_pairs import BATCH, write_pairs
from speechbrain_llase.training.refiner_brain import train_refiner


def find_refiner(base):
    """The weights that the refiner of a model folder begins with."""
    path = base / "refiner.ckpt"
    if not path.is_file():
        raise FileNotFoundError(
            f"{base} has no refiner.ckpt; give --base llase_mini, or a folder "
            "that was published with --keep-refiner."
        )
    return str(path)


def make_pairs(hparams, base, device):
    """Write the pairs of both parts, but for files that are there."""
    model = EnhanceLLaSE.from_hparams(
        base,
        run_opts={"device": device},
        overrides={"compute": "auto", "window_batch": BATCH},
    )
    encoder = None
    if (base / "codec.yaml").is_file():
        encoder = load_codec(str(base)).mods.encoder
    for part, path, number in (
        ("train", hparams["pairs"], hparams["num_pairs"]),
        ("valid", hparams["valid_pairs"], hparams["num_valid_pairs"]),
    ):
        path = Path(path)
        if path.is_file():
            print(f"{path} is there and is used as it is; delete it to renew.")
            continue
        sampler = make_sampler(hparams, part)
        seed = hparams["seed"]
        write_pairs(path, sampler.pair, number, model, encoder, seed)


def make_sampler(hparams, part):
    """What draws pairs of one part of the data."""
    folder, segment_s = hparams["manifest_folder"], hparams["pair_s"]

    def read(path):
        rate, resample = hparams["sample_rate"], hparams["resample"]
        return read_speech(path, rate, resample)[1]

    entries = load_manifest(folder, part).values()
    if all(entry.get("noisy_wav") for entry in entries):
        waves = [(read(x["noisy_wav"]), read(x["clean_wav"])) for x in entries]
        return RecordedPairs(waves, segment_s)
    clean, noises, rirs = (
        [read(x["clean_wav"]) for x in load_manifest(folder, name).values()]
        for name in (part, f"noise_{part}", "rir")
    )
    settings = hparams["mixtures"]
    return TargetSampler(clean, noises, rirs, segment_s, **settings)


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    base = Path(str(resolve_source(hparams["base"])))
    hparams["init"] = find_refiner(base)
    prepare_manifests(folder_sources(hparams["data_folder"]), hparams)
    device = run_opts.get("device")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    make_pairs(hparams, base, device)
    train_refiner(hparams, run_opts)
