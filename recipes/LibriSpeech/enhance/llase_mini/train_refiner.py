#!/usr/bin/env python3
"""Recipe for the refiner of llase_mini.

To run this recipe, do the following, after train_token_lm.py and publish.py:
> python train_refiner.py hparams/refiner.yaml --data_folder=DATA \
    --model_folder=FOLDER

DATA holds `clean/{train,valid}`, `noise/{train,valid}` and `rir`; FOLDER is
what publish.py wrote. The model there enhances mixtures made on the fly and
learns nothing; the refiner hears the result beside the mixture and learns the
spectra of the clean speech. `publish.py --refiner` puts it into the model.
"""

import sys

import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.augment.mixture_dataset import mixture_datasets
from speechbrain_llase.processing.signal_processing import (
    fit_length,
    to_active_level,
    to_peak,
)
from speechbrain_llase.training.losses import blend_loss


class RefinerBrain(sb.Brain):
    """Trains the refiner on the spectra of clean speech."""

    def compute_forward(self, batch, stage):
        """Give the magnitudes (B, M, bins) that the refiner chooses."""
        noisy = to_peak(batch["noisy"].to(self.device))
        stages = self.hparams.enhancer.stages
        decoded, _ = stages.generate(stages.extract(list(noisy)), list(noisy))
        decoded = torch.stack(decoded)
        noisy = fit_length(noisy, decoded.shape[1])
        return self.modules.refiner.blend(decoded, noisy)[0]

    def compute_objectives(self, predictions, batch, stage):
        """Compare with the clean speech at the level that the codec knows."""
        refiner = self.modules.refiner
        clean = batch["clean"].to(self.device)
        clean = to_active_level(clean, self.hparams.codec_level_db)
        samples = predictions.shape[1] * refiner.hop_length
        return blend_loss(
            refiner,
            predictions,
            fit_length(clean, samples),
            self.hparams.floor,
            self.hparams.floor_share,
            self.hparams.envelope_weight,
            self.hparams.excess_weight,
        )

    def fit_batch(self, batch):
        """Update the refiner once."""
        predictions = self.compute_forward(batch, sb.Stage.TRAIN)
        loss = self.compute_objectives(predictions, batch, sb.Stage.TRAIN)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            self.modules.parameters(), self.hparams.clip_norm
        )
        self.optimizer.step()
        self.hparams.lr_annealing(self.optimizer)
        return loss.detach()

    def on_stage_start(self, stage, epoch=None):
        """Draw new mixtures."""
        if stage == sb.Stage.TRAIN:
            self.hparams.train_data.set_epoch(epoch)

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


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    train_data, valid_data = mixture_datasets(hparams)
    hparams["train_data"] = train_data
    brain = RefinerBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.hparams.enhancer = EnhanceLLaSE.from_hparams(
        hparams["model_folder"],
        run_opts={"device": str(brain.device)},
        overrides={"compute": hparams["compute"]},
    )
    brain.fit(
        hparams["epoch_counter"],
        train_data,
        valid_data,
        train_loader_kwargs=hparams["train_loader_opts"],
        valid_loader_kwargs=hparams["valid_loader_opts"],
    )
