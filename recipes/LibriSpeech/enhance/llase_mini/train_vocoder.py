#!/usr/bin/env python3
"""Recipe for the decoder of llase_mini: speech from tokens that err.

To run this recipe, do the following, after train_token_lm.py:
> python train_vocoder.py hparams/vocoder.yaml --data_folder=DATA \
    --codec_folder=CKPT --token_lm_folder=CKPT

In use the decoder hears the token LM's tokens of noisy speech, of which many
digits are wrong; the codec's run showed it right ones alone. Here it goes on
with both kinds. Encoder, frontend and token LM stay as they are, so tokens
keep their meaning. The tokens of many mixtures are kept in a pool, a part of
which is renewed every epoch.

Authors
 * The speechbrain_llase contributors 2026
"""

import sys

import numpy as np
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.distributed import infer_device
from train_codec import CodecBrain

from speechbrain_llase.fsq import (
    codes_to_levels,
    levels_to_codes,
    levels_to_tokens,
    quantise,
)
from speechbrain_llase.mixing import (
    MixtureDataset,
    MixtureSampler,
    load_folder,
)
from speechbrain_llase.signal import fit_length, to_active_level, to_peak
from speechbrain_llase.vocoder import Xcodec2Vocoder


class VocoderBrain(CodecBrain):
    """Trains the decoder on tokens, right and predicted."""

    def compute_forward(self, batch, stage):
        """Predict the spectra of the levels (B, N, 8) of a batch."""
        levels = batch["levels"].to(self.device)
        models = self.modules
        if stage != sb.Stage.TRAIN:
            self.tokens_seen.append(levels_to_tokens(levels))
            models = self.average.module
        codes = levels_to_codes(levels)
        spectra, hidden = models["vocoder"].log_magnitudes(codes)
        return spectra, models["pitch_head"](hidden)

    def target(self, batch):
        """The clean waves (B, T) of a batch."""
        return batch["clean"].to(self.device)

    def on_stage_start(self, stage, epoch=None):
        """Renew a part of the pool; draw new crops."""
        super().on_stage_start(stage, epoch)
        if stage == sb.Stage.TRAIN:
            self.hparams.train_data.renew(epoch)


class TokenPool(torch.utils.data.Dataset):
    """Random crops of clean speech, each with its tokens' levels.

    Arguments
    ---------
    mixtures : MixtureDataset
        An epoch of it fills the pool.
    tokens_of : callable
        Maps noisy and clean (B, T) to levels (B, N, 8) predicted from the
        one, levels of the other and the other at the codec's level.
    num_rows : int
        Tokens of a crop.
    length : int
        Crops an epoch.
    predicted_prob : float
        Share of crops with predicted tokens; the others have right ones.
    renewed : int
        Mixtures that are made anew every epoch, the oldest first.
    seed : int
        Crop i of every epoch draws from (seed, epoch, i).
    """

    def __init__(
        self,
        mixtures,
        tokens_of,
        num_rows,
        length,
        predicted_prob,
        renewed,
        seed,
    ):
        self.mixtures, self.tokens_of = mixtures, tokens_of
        self.num_rows, self.length = num_rows, length
        self.predicted_prob, self.renewed = predicted_prob, renewed
        self.seed, self.epoch = seed, 0
        self.pool = []
        self._make(range(len(mixtures)))

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        item = self.pool[rng.integers(len(self.pool))]
        predicted = rng.random() < self.predicted_prob
        levels = item["predicted" if predicted else "right"]
        hop = Xcodec2Vocoder.hop_length
        start = int(rng.integers(len(levels) - self.num_rows + 1))
        stop = start + self.num_rows
        return {
            "levels": levels[start:stop].long(),
            "clean": item["clean"][hop * start : hop * stop].float(),
        }

    def renew(self, epoch):
        """Replace the oldest mixtures."""
        size = len(self.mixtures)
        self.mixtures.set_epoch(epoch)
        first = (epoch - 1) * self.renewed
        self._make([(first + k) % size for k in range(self.renewed)])

    def _make(self, indices, batch_size=8):
        """Mix, predict and encode; put the results into the pool."""
        for at in range(0, len(indices), batch_size):
            some = indices[at : at + batch_size]
            items = [self.mixtures[k] for k in some]
            noisy, clean = (
                torch.stack([item[key] for item in items])
                for key in ("noisy", "clean")
            )
            made = zip(*self.tokens_of(noisy, clean), strict=True)
            for k, (predicted, right, wav) in zip(some, made, strict=True):
                self.pool[k : k + 1] = [
                    {
                        "predicted": predicted.to("cpu", torch.int8),
                        "right": right.to("cpu", torch.int8),
                        "clean": wav.to("cpu", torch.float16),
                    }
                ]


def make_tokens_of(hparams, device):
    """Build what maps mixtures to tokens, from the frozen networks."""
    frozen = [hparams[name] for name in ("encoder", "frontend", "token_lm")]
    for network in frozen:
        network.to(device).requires_grad_(False)

    @torch.no_grad()
    def tokens_of(noisy, clean):
        for network in frozen:
            network.eval()  # a run puts its modules into training mode
        noisy = to_peak(noisy.to(device))
        clean = to_active_level(clean.to(device), hparams["codec_level_db"])
        right = codes_to_levels(quantise(hparams["encoder"](clean)))
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            logits = hparams["token_lm"](hparams["frontend"](noisy))
        samples = right.shape[1] * Xcodec2Vocoder.hop_length
        return logits.argmax(-1), right, fit_length(clean, samples)

    return tokens_of


def dataio_prep(hparams, device):
    """Make the pools of training and of validation."""
    datasets = []
    rate = hparams["sample_rate"]
    hop = Xcodec2Vocoder.hop_length
    for part, mixtures, crops, renewed, seed in (
        (
            "train",
            hparams["pool_mixtures"],
            hparams["crops_per_epoch"],
            hparams["renewed_mixtures"],
            hparams["seed"],
        ),
        ("valid", hparams["valid_crops"], hparams["valid_crops"], 0, 0),
    ):
        folder = hparams["data_folder"]
        sampler = MixtureSampler(
            load_folder(f"{folder}/clean/{part}", rate),
            load_folder(f"{folder}/noise/{part}", rate),
            load_folder(f"{folder}/rir", rate),
            **hparams["mixtures"],
        )
        pool = TokenPool(
            MixtureDataset(sampler, mixtures, seed),
            make_tokens_of(hparams, device),
            num_rows=int(hparams["segment_s"] * rate) // hop,
            length=crops,
            predicted_prob=hparams["predicted_prob"],
            renewed=renewed,
            seed=seed,
        )
        datasets.append(pool)
    return datasets


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    hparams["pretrainer"].collect_files()
    hparams["pretrainer"].load_collected()
    device = run_opts.get("device") or infer_device()
    train_data, valid_data = dataio_prep(hparams, device)
    hparams["train_data"] = train_data
    brain = VocoderBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.fit(
        hparams["epoch_counter"],
        train_data,
        valid_data,
        train_loader_kwargs=hparams["train_loader_opts"],
        valid_loader_kwargs=hparams["valid_loader_opts"],
    )
