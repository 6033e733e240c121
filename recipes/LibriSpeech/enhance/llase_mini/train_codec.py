#!/usr/bin/env python3
"""Recipe for the codec of llase_mini: encoder, FSQ and Xcodec2 decoder.

To run this recipe, do the following:
> python train_codec.py hparams/codec.yaml --data_folder=DATA

DATA holds `clean/train` and `clean/valid`, folders of 16 kHz speech. The
decoder learns to predict magnitudes; phases are made of their pitch
(speechbrain_llase/processing/phase.py). With a trained codec as `--codec_folder` a run
goes on from it, and with `--train_encoder=False` the decoder does so alone.
"""

import sys

import numpy as np
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_llase.augment.mixture import vary
from speechbrain_llase.dataio.recordings import load_folder
from speechbrain_llase.nnet.fsq import (
    codes_to_levels,
    levels_to_tokens,
    quantise,
)
from speechbrain_llase.processing.signal_processing import (
    power,
    to_active_level,
)
from speechbrain_llase.training.losses import pitch_loss

RATE = 16000  # Hz


class CodecBrain(sb.Brain):
    """Trains encoder and decoder on spectra, and on pitch beside them."""

    def init_optimizers(self):
        """Make the optimizer and the averages of what is trained."""
        self.hparams.magnitude_loss.to(self.device)
        self.trained = ["vocoder", "pitch_head"]
        if self.hparams.train_encoder:
            self.trained.append("encoder")
        else:
            self.modules.encoder.requires_grad_(False)
        self.averaged = torch.nn.ModuleDict(self.modules.items())
        self.optimizer = self.opt_class(
            [
                p
                for name in self.trained
                for p in self.modules[name].parameters()
            ]
        )
        self.optimizers_dict = {"opt_class": self.optimizer}
        self.average = torch.optim.swa_utils.AveragedModel(
            self.averaged,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(
                self.hparams.average_decay
            ),
        )
        self.checkpointer.add_recoverable("optimizer", self.optimizer)
        self.checkpointer.add_recoverable("average", self.average)

    def compute_forward(self, batch, stage):
        """Predict spectra (B, N, 641) and autocorrelations (B, N, 228)."""
        train = stage == sb.Stage.TRAIN
        models = dict(self.modules.items())
        if not train:
            models.update(self.average.module.items())
        models["encoder"].train(train and self.hparams.train_encoder)
        codes = quantise(models["encoder"](self.target(batch)))
        if not train:
            self.tokens_seen.append(levels_to_tokens(codes_to_levels(codes)))
        spectra, hidden = models["vocoder"].log_magnitudes(codes)
        return spectra, models["pitch_head"](hidden)

    def target(self, batch):
        """The waves (B, 320 N) whose spectra are to come out."""
        return batch.to(self.device)

    def compute_objectives(self, predictions, batch, stage):
        """Distance of the spectra; in training, that of the pitch, too."""
        spectra, lags = predictions
        loss = self.hparams.magnitude_loss(spectra, self.target(batch))
        if stage != sb.Stage.TRAIN:
            return loss
        pitch = pitch_loss(lags, self.target(batch))
        return loss + self.hparams.pitch_weight * pitch

    def fit_batch(self, batch):
        """Update once; gradients are clipped network by network."""
        with self.training_ctx:
            predictions = self.compute_forward(batch, sb.Stage.TRAIN)
        loss = self.compute_objectives(predictions, batch, sb.Stage.TRAIN)
        self.optimizer.zero_grad()
        loss.backward()
        for name in self.trained:
            torch.nn.utils.clip_grad_norm_(
                self.modules[name].parameters(), self.hparams.clip_norm
            )
        self.optimizer.step()
        self.average.update_parameters(self.averaged)
        self.hparams.lr_annealing(self.optimizer)
        return loss.detach()

    def on_stage_start(self, stage, epoch=None):
        """Draw new crops; forget the tokens of the last validation."""
        self.tokens_seen = []
        if stage == sb.Stage.TRAIN:
            self.hparams.train_data.epoch = epoch

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log the losses and the codes in use; keep the last checkpoint."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
            return
        used = torch.cat(self.tokens_seen, 1).unique().numel()
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
            train_stats={"loss": self.train_loss},
            valid_stats={"magnitude": stage_loss, "codes_used": used},
        )
        self.checkpointer.save_and_keep_only(
            meta={"magnitude": float(stage_loss)},
            num_to_keep=2,
            keep_recent=True,
        )


class CropDataset(torch.utils.data.Dataset):
    """Random crops of speech, in random speed, colour and level.

    Arguments
    ---------
    wavs : list of torch.Tensor
        Utterances (T,) at 16 kHz; those that are shorter than a crop at the
        highest speed are left out.
    num_samples : int
        Length of a crop.
    length : int
        Crops an epoch.
    level_db : float
        Active level in dBFS.
    seed : int
        Item i of every epoch draws from (seed, epoch, i).
    jitter_db : float
        How far the level may be off, to both sides.
    speed, eq_db : tuple, float
        See `speechbrain_llase.augment.mixture.vary`; (1, 1) and 0 for none.
    """

    def __init__(
        self,
        wavs,
        num_samples,
        length,
        level_db,
        seed,
        jitter_db=0.0,
        speed=(1.0, 1.0),
        eq_db=0.0,
    ):
        longest = 1.25 * num_samples * speed[1] + 1024  # vary asks for more
        self.wavs = [wav.numpy() for wav in wavs if len(wav) > longest]
        if not self.wavs:
            raise ValueError(
                f"No utterance has more than {longest / RATE:.2f} s; shorten "
                "segment_s or give longer ones."
            )
        self.num_samples, self.length = num_samples, length
        self.level_db, self.jitter_db, self.seed = level_db, jitter_db, seed
        self.speed, self.eq_db = speed, eq_db
        self.epoch = 0

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        level_db = self.level_db + rng.uniform(-1, 1) * self.jitter_db
        while True:
            wav = self.wavs[rng.integers(len(self.wavs))]
            crop = self._crop(wav, rng)
            if power(crop) > 0.01 * power(wav):
                return to_active_level(torch.from_numpy(crop), level_db)

    def _crop(self, wav, rng):
        """Cut a piece of one utterance and vary it."""

        def draw(size):
            start = rng.integers(len(wav) - size + 1)
            return wav[start : start + size]

        return vary(draw, self.num_samples, RATE, self.speed, self.eq_db, rng)


def dataio_prep(hparams):
    """Read the speech; crops to learn from and to check on."""
    folder = hparams["data_folder"] + "/clean/"
    common = {
        "num_samples": int(hparams["segment_s"] * RATE),
        "level_db": hparams["codec_level_db"],
    }
    return (
        CropDataset(
            load_folder(folder + "train", RATE),
            length=hparams["crops_per_epoch"],
            seed=hparams["seed"],
            jitter_db=hparams["jitter_db"],
            speed=hparams["speed"],
            eq_db=hparams["eq_db"],
            **common,
        ),
        CropDataset(
            load_folder(folder + "valid", RATE),
            length=hparams["valid_crops"],
            seed=0,
            **common,
        ),
    )


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    train_data, valid_data = dataio_prep(hparams)
    hparams["train_data"] = train_data
    if hparams["codec_folder"] is not None:
        hparams["pretrainer"].collect_files()
        hparams["pretrainer"].load_collected()
    brain = CodecBrain(
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
