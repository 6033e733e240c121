#!/usr/bin/env python3
"""Recipe for the predictive half of llase_mini.

To run this recipe, do the following, after prepare_pairs.py:
> python train_spectral_refiner.py hparams/spectral_refiner.yaml --data_folder=DATA \
    --pairs=pairs.npy --valid_pairs=valid.npy

The pairs hold mixtures, targets and decoded waves. Each batch takes crops of
them, and some mixtures made on the fly, whose decoded wave is silence. Decoded
waves are left out, damaged, or another's in a part of the batch, so that the
refiner does not lean on them. `publish.py --refiner` puts it into the model.
"""

import sys

import numpy as np
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from wide_data import read_waves

from speechbrain_llase.augment.target_mixtures import TargetSampler
from speechbrain_llase.processing.framing import SAMPLE_RATE

LATE = 240  # samples that a damaged decoded wave is early or late
HOLE = (1600, 9600)  # samples of a damage


class RefinerBrain(sb.Brain):
    """Trains the refiner on spectra of clean speech."""

    def init_optimizers(self):
        """Make the optimizer and the average of the weights."""
        refiner = self.modules.refiner
        self.optimizer = self.opt_class(refiner.parameters())
        self.optimizers_dict = {"opt_class": self.optimizer}
        self.average = torch.optim.swa_utils.AveragedModel(
            refiner,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(
                self.hparams.average_decay
            ),
            use_buffers=True,
        )
        self.checkpointer.add_recoverable("optimizer", self.optimizer)
        self.checkpointer.add_recoverable("average", self.average)

    def compute_forward(self, batch, stage):
        """Estimate magnitudes and phases (B, N, bins)."""
        heard, _, decoded = batch.to(self.device).unbind(1)
        if stage == sb.Stage.TRAIN:
            return self.modules.refiner.estimate(decoded, heard)
        return self.average.module.eval().estimate(decoded, heard)

    def compute_objectives(self, predictions, batch, stage):
        """Compare with the target, in float32."""
        magnitude, phase = predictions
        clean = batch[:, 1].to(self.device)
        return self.hparams.loss(
            self.modules.refiner, magnitude.float(), phase, clean
        )

    def fit_batch(self, batch):
        """Update the refiner once."""
        with self.training_ctx:
            predictions = self.compute_forward(batch, sb.Stage.TRAIN)
        loss = self.compute_objectives(predictions, batch, sb.Stage.TRAIN)
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(
            self.modules.parameters(), self.hparams.clip_norm
        )
        if torch.isfinite(norm):
            self.optimizer.step()
            self.average.update_parameters(self.modules.refiner)
        self.hparams.lr_annealing(self.optimizer)
        return loss.detach()

    def on_stage_start(self, stage, epoch=None):
        """Draw new crops and mixtures."""
        if stage == sb.Stage.TRAIN:
            self.hparams.train_data.epoch = epoch

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log the loss; keep the last checkpoints."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
            return
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
            train_stats={"loss": self.train_loss},
            valid_stats={"loss": stage_loss},
        )
        self.checkpointer.save_and_keep_only(
            meta={"loss": stage_loss}, num_to_keep=2, keep_recent=True
        )


class PairDataset(torch.utils.data.Dataset):
    """Crops of pairs, every so often a mixture without a decoded wave.

    Arguments
    ---------
    pairs : np.ndarray
        (number, 3, T): heard, target, decoded; see prepare_pairs.py.
    num_samples, length, seed : int
        Of a crop; items an epoch; item i of every epoch is always the same.
    sampler : TargetSampler, optional
        Makes a mixture in place of every `fresh_every`th crop.
    fresh_every : int
        How often.
    shares : dict
        "swapped", "dropped", "damaged": of the decoded waves.
    jitter_db : float
        How far levels may be off, to both sides.
    """

    def __init__(
        self,
        pairs,
        num_samples,
        length,
        seed,
        sampler=None,
        fresh_every=8,
        shares=None,
        jitter_db=4.0,
    ):
        self.pairs, self.num_samples = pairs, num_samples
        self.length, self.seed = length, seed
        self.sampler, self.fresh_every = sampler, fresh_every
        self.shares, self.jitter_db = shares or {}, jitter_db
        self.epoch = 0

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        if self.sampler and index % self.fresh_every == 0:
            waves = self._fresh(rng)
        else:
            waves = self._crop(rng)
            waves[2] = self._spoilt(waves[2], rng)
        level_db = rng.uniform(-1, 1) * self.jitter_db
        waves[:2] *= np.float32(10 ** (level_db / 20))
        return torch.from_numpy(waves)

    def _fresh(self, rng):
        """A mixture made now; its decoded wave is silence."""
        pair = self.sampler.pair(rng)
        start = rng.integers(len(pair.heard) - self.num_samples + 1)
        waves = np.zeros((3, self.num_samples), np.float32)
        part = slice(start, start + self.num_samples)
        waves[0], waves[1] = pair.heard[part], pair.target[part]
        return waves

    def _crop(self, rng):
        """A crop of a pair, float32 (3, num_samples)."""
        index = rng.integers(len(self.pairs))
        start = rng.integers(self.pairs.shape[2] - self.num_samples + 1)
        part = self.pairs[index, :, start : start + self.num_samples]
        return part.astype(np.float32)

    def _spoilt(self, decoded, rng):
        """Damage a decoded wave, leave it out or take another's."""
        shares = self.shares
        if rng.random() < shares.get("damaged", 0):
            decoded = self._damaged(decoded, rng)
        drawn = rng.random() - shares.get("swapped", 0)
        if drawn < 0:
            return self._crop(rng)[2]
        return decoded * (drawn >= shares.get("dropped", 0))

    def _damaged(self, decoded, rng):
        """A hole, another's words, another level, or early or late."""
        start = rng.integers(self.num_samples - HOLE[0])
        part = slice(start, start + rng.integers(*HOLE))
        kind = rng.integers(4)
        if kind == 0:
            decoded[part] = 0
        elif kind == 1:
            decoded[part] = self._crop(rng)[2][part]
        elif kind == 2:
            decoded = np.roll(decoded, rng.integers(-LATE, LATE + 1))
        else:
            decoded[part] *= np.float32(10 ** (rng.uniform(-12, 6) / 20))
        return decoded


def dataio_prep(hparams):
    """Open the pairs; build what makes fresh ones."""
    samples = round(hparams["segment_s"] * SAMPLE_RATE)
    pairs = np.load(hparams["pairs"], mmap_mode="r")
    sampler = TargetSampler(
        **read_waves(hparams["data_folder"], "train", hparams["development"]),
        segment_s=hparams["segment_s"] + 0.4,
        **hparams["mixtures"],
    )
    train_data = PairDataset(
        pairs,
        samples,
        hparams["crops_per_epoch"],
        hparams["seed"],
        sampler,
        hparams["fresh_every"],
        hparams["shares"],
        hparams["jitter_db"],
    )
    valid = np.load(hparams["valid_pairs"]).astype(np.float32)
    return train_data, list(torch.from_numpy(valid))


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    train_data, valid_data = dataio_prep(hparams)
    hparams["train_data"] = train_data
    brain = RefinerBrain(
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
