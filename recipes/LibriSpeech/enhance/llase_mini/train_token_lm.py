#!/usr/bin/env python3
"""Recipe for the enhancer of llase_mini: frontend and token LM.

To run this recipe, do the following, after train_codec.py:
> python train_token_lm.py hparams/token_lm.yaml --data_folder=DATA \
    --codec_folder=CKPT
> python train_token_lm.py hparams/token_lm_spectra.yaml --data_folder=DATA \
    --codec_folder=CKPT --token_lm_folder=CKPT

DATA holds `clean/train`, `noise/train` and `rir`, and more of them in `more`;
what development.json names validates. The first run learns to predict the
codec's tokens of clean speech from mixtures made on the fly, heard without
rumble and at one level of speech. The second one goes on through the decoder, which stays as it is:
the spectra of the predicted tokens are compared with those of the clean
speech, so an error counts for as much as it is heard. With
`--train_vocoder=True` the decoder learns along; it hears the right tokens too.
"""

import sys

import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from wide_data import wide_datasets

from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder
from speechbrain_llase.nnet.fsq import (
    codes_to_levels,
    decodes_mean,
    levels_to_codes,
    mean_codes,
    quantise,
)
from speechbrain_llase.nnet.matrices import Matrices
from speechbrain_llase.processing.hearing import hear
from speechbrain_llase.processing.signal_processing import (
    fit_length,
    to_active_level,
)
from speechbrain_llase.training.losses import digit_loss, pitch_loss
from speechbrain_llase.training.straight_through import straight_through_codes


class TokenLMBrain(sb.Brain):
    """Trains the frontend and the token LM on digits of clean tokens."""

    def init_optimizers(self):
        """Make the optimizer and the averages of what is trained."""
        self.hparams.magnitude_loss.to(self.device)
        self.trained = ["frontend", "token_lm"]
        if self.hparams.train_vocoder:
            self.trained += ["vocoder", "pitch_head"]
        for name, network in self.modules.items():
            network.requires_grad_(name in self.trained)
        self.averaged = torch.nn.ModuleDict(
            {name: self.modules[name] for name in self.trained}
        )
        hparams = self.hparams
        self.matrices = Matrices(self.averaged, hparams.no_matrices)
        self.optimizers_dict = {
            "matrices": hparams.matrix_opt_class(self.matrices.views),
            "others": self.opt_class(self.matrices.others),
        }
        self.average = torch.optim.swa_utils.AveragedModel(
            self.averaged,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(
                self.hparams.average_decay
            ),
        )
        for name, optimizer in self.optimizers_dict.items():
            self.checkpointer.add_recoverable(name, optimizer)
        self.checkpointer.add_recoverable("average", self.average)

    def compute_forward(self, batch, stage):
        """Predict the digits' logits (B, N, 8, 4) of the clean speech."""
        self.modules.encoder.eval()  # its statistics are settled
        models = self.current_models(stage)
        noisy, _ = hear(batch["noisy"].to(self.device))
        if stage == sb.Stage.TRAIN:
            noisy = self.hparams.drop_chunk(noisy, torch.ones(len(noisy)))
            noisy = self.hparams.drop_freq(noisy)
        return models["token_lm"](models["frontend"](noisy))

    def current_models(self, stage):
        """The networks as they are in training, else their averages."""
        models = dict(self.modules.items())
        if stage != sb.Stage.TRAIN:
            models.update(self.average.module.eval().items())
        return models

    def compute_objectives(self, predictions, batch, stage):
        """Validate: cross-entropy of the digits, and the spectra's distance."""
        logits = predictions.float()
        levels = self.right_levels(batch)
        if self.hparams.spectra_weight > 0:
            self.decoded_loss(logits, levels, batch, stage)
        return self.digits_loss(logits, levels)

    def digits_loss(self, predictions, levels):
        """Cross-entropy of logits (B, N, 8, 4) and levels (B, N, 8)."""
        right = (predictions.argmax(-1) == levels).float().mean()
        self.accuracy.append(float(right))
        smoothing = self.hparams.neighbour_smoothing
        return digit_loss(predictions, levels, smoothing)

    def target(self, batch):
        """The clean speech at the level that the codec knows."""
        clean = batch["clean"].to(self.device)
        return to_active_level(clean, self.hparams.codec_level_db)

    @torch.no_grad()
    def right_levels(self, batch):
        """The levels (B, N, 8) of the clean speech's tokens."""
        return codes_to_levels(
            quantise(self.modules.encoder(self.target(batch)))
        )

    def fit_batch(self, batch):
        """Update the enhancer once."""
        with self.training_ctx:
            logits = self.compute_forward(batch, sb.Stage.TRAIN).float()
        levels = self.right_levels(batch)
        loss = self.digits_loss(logits, levels)
        if self.hparams.spectra_weight > 0:
            spectral = self.decoded_loss(logits, levels, batch, sb.Stage.TRAIN)
            loss = loss + self.hparams.spectra_weight * spectral
        self.averaged.zero_grad()
        loss.backward()
        for name in self.trained:
            torch.nn.utils.clip_grad_norm_(
                self.modules[name].parameters(), self.hparams.clip_norm
            )
        self.matrices.hand_on_gradients()
        for optimizer in self.optimizers_dict.values():
            optimizer.step()
        self.average.update_parameters(self.averaged)
        self.hparams.lr_annealing(*self.optimizers_dict.values())
        return loss.detach()

    def decoded_loss(self, logits, levels, batch, stage):
        """Compare the decoder's spectra with those of the clean wave.

        A decoder that learns hears the right tokens, too, in a second half of
        the batch, so that it stays the decoder of the codec.
        """
        codes = self.decoder_codes(logits)
        learns = stage == sb.Stage.TRAIN and self.hparams.train_vocoder
        if learns:
            codes = torch.cat([codes, levels_to_codes(levels)])
        models = self.current_models(stage)
        with self.training_ctx:
            spectra, hidden = models["vocoder"].log_magnitudes(codes)
            lags = models["pitch_head"](hidden)
        samples = spectra.shape[1] * Xcodec2Vocoder.hop_length
        clean = fit_length(self.target(batch), samples)
        if learns:
            clean = clean.repeat(2, 1)
        loss = self.hparams.magnitude_loss(spectra, clean)
        self.spectral_seen.append(float(loss))
        return loss + self.hparams.pitch_weight * pitch_loss(lags, clean)

    def decoder_codes(self, logits):
        """The codes (B, N, 8) that the decoder hears.

        They are the mean of each digit's posterior, through which gradients
        flow; or ("best") the arg max, with the mean's gradient.
        """
        if decodes_mean(self.hparams.decoder_hears):
            return mean_codes(logits)
        return straight_through_codes(logits, "digits")

    def on_stage_start(self, stage, epoch=None):
        """Draw new mixtures; start the statistics anew."""
        self.accuracy, self.spectral_seen = [], []
        if stage == sb.Stage.TRAIN:
            self.hparams.train_data.set_epoch(epoch)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log loss and accuracy; keep the last checkpoints."""
        stats = {
            "loss": stage_loss,
            "digit_accuracy": sum(self.accuracy) / len(self.accuracy),
        }
        if self.spectral_seen:
            stats["magnitude"] = sum(self.spectral_seen) / len(
                self.spectral_seen
            )
        if stage == sb.Stage.TRAIN:
            self.train_stats = stats
            return
        others = self.optimizers_dict["others"]
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, "lr": others.param_groups[0]["lr"]},
            train_stats=self.train_stats,
            valid_stats=stats,
        )
        self.checkpointer.save_and_keep_only(
            meta={"accuracy": stats["digit_accuracy"]},
            num_to_keep=2,
            keep_recent=True,
        )


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    train_data, valid_data = wide_datasets(hparams)
    hparams["train_data"] = train_data
    hparams["pretrainer"].collect_files()
    hparams["pretrainer"].load_collected()
    brain = TokenLMBrain(
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
