"""RefinerBrain: trains a refiner on spectra, and against judges of them."""

from pathlib import Path

import numpy as np
import speechbrain as sb
import torch

from speechbrain_llase.nnet.matrices import Matrices
from speechbrain_llase.pretrained.tensors import read_tensors
from speechbrain_llase.processing.framing import SAMPLE_RATE
from speechbrain_llase.training.decoded_pairs import (
    DECODED,
    HEARD,
    SPEECH,
    TARGET,
    PairDataset,
)


class RefinerBrain(sb.Brain):
    """Trains the refiner on spectra of clean speech, against judges of them."""

    def init_optimizers(self):
        """Make the optimizers and the average of the weights."""
        refiner, hparams = self.modules.refiner, self.hparams
        self.matrices = Matrices(refiner, ("place", "up.2"))
        self.optimizers_dict = {
            "matrices": hparams.matrix_opt_class(self.matrices.views),
            "others": self.opt_class(self.matrices.others),
            "judges": hparams.judge_opt_class(
                self.modules.adversary.parameters()
            ),
        }
        self.average = torch.optim.swa_utils.AveragedModel(
            refiner,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(
                hparams.average_decay
            ),
            use_buffers=True,
        )
        for name, optimizer in self.optimizers_dict.items():
            self.checkpointer.add_recoverable(name, optimizer)
        self.checkpointer.add_recoverable("average", self.average)

    def compute_forward(self, batch, stage):
        """Estimate magnitudes and phases (B, N, bins)."""
        refiner = self.modules.refiner
        if stage != sb.Stage.TRAIN:
            refiner = self.average.module.eval()
        return refiner.estimate(batch[:, DECODED], batch[:, HEARD])

    def compute_objectives(self, predictions, batch, stage):
        """Compare with the targets, in float32; return the waves, too."""
        magnitude, phase = predictions
        wanted = batch[:, TARGET]
        if stage == sb.Stage.TRAIN:
            wanted = torch.lerp(batch[:, SPEECH], wanted, self.hparams.cleaner)
        refiner, magnitude = self.modules.refiner, magnitude.float()
        made = refiner.synthesise(magnitude, phase, batch.shape[2])
        loss = self.hparams.loss(refiner, magnitude, phase, wanted, made)
        return loss, made

    def fit_batch(self, batch):
        """Update the judges, then the refiner."""
        batch = batch.to(self.device)
        with self.training_ctx:
            predictions = self.compute_forward(batch, sb.Stage.TRAIN)
        loss, made = self.compute_objectives(predictions, batch, sb.Stage.TRAIN)
        if self.hparams.judged:
            opinion = self.ask_judges(made, batch[:, TARGET], loss)
        else:
            opinion = 0
        self.modules.refiner.zero_grad()
        (loss + opinion).backward()
        norm = torch.nn.utils.clip_grad_norm_(
            self.modules.refiner.parameters(), self.hparams.clip_norm
        )
        if torch.isfinite(norm):
            self.matrices.hand_on_gradients()
            self.optimizers_dict["matrices"].step()
            self.optimizers_dict["others"].step()
            self.average.update_parameters(self.modules.refiner)
        self.hparams.lr_annealing(
            self.optimizers_dict["matrices"], self.optimizers_dict["others"]
        )
        self.optimizer_step += 1  # nothing else counts them
        return loss.detach()

    def ask_judges(self, made, real, loss):
        """Let the judges learn; return what they say, weighted."""
        adversary = self.modules.adversary
        with self.training_ctx:
            judged, maps = adversary.loss(made, real)
        adversary.zero_grad()
        judged.backward()
        torch.nn.utils.clip_grad_norm_(
            adversary.parameters(), self.hparams.judge_clip_norm
        )
        self.optimizers_dict["judges"].step()
        adversary.requires_grad_(False)
        with self.training_ctx:
            opinion = adversary.opinion(made, maps)
        if self.optimizer_step % self.hparams.steps_per_balance == 0:
            adversary.settle_balance(opinion, loss, made)
        adversary.requires_grad_(True)
        ramp = min(1.0, self.optimizer_step / self.hparams.judge_warmup_steps)
        return ramp * adversary.share * adversary.balance * opinion

    def evaluate_batch(self, batch, stage):
        """The loss alone."""
        batch = batch.to(self.device)
        predictions = self.compute_forward(batch, stage)
        return self.compute_objectives(predictions, batch, stage)[0].detach()

    def on_stage_start(self, stage, epoch=None):
        """Draw new crops and mixtures."""
        if stage == sb.Stage.TRAIN:
            self.hparams.train_data.epoch = epoch

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log the loss; keep the last checkpoints."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
            return
        others = self.optimizers_dict["others"]
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, "lr": others.param_groups[0]["lr"]},
            train_stats={"loss": self.train_loss},
            valid_stats={"loss": stage_loss},
        )
        self.checkpointer.save_and_keep_only(
            meta={"loss": stage_loss}, num_to_keep=2, keep_recent=True
        )


def train_refiner(hparams: dict, run_opts: dict) -> None:
    """Train what a recipe's YAML describes, or go on with it.

    Arguments
    ---------
    hparams : dict
        Of spectral_refiner.yaml: pairs and valid_pairs (files of
        `write_pairs`), init, modules, checkpointer and the settings of both.
        The judges begin as adversary.ckpt beside `init`, where that is.
    run_opts : dict
        Of SpeechBrain's Brain.
    """
    if hparams["init"]:
        begin_with(hparams["refiner"], hparams["init"])
        judges = Path(hparams["init"]).with_name("adversary.ckpt")
        if judges.is_file():  # or they have to learn from nothing
            begin_with(hparams["adversary"], judges)
    train_data = PairDataset(
        np.load(hparams["pairs"], mmap_mode="r"),
        round(hparams["segment_s"] * SAMPLE_RATE),
        hparams["crops_per_epoch"],
        hparams["seed"],
        hparams["shares"],
        hparams["jitter_db"],
    )
    valid = np.load(hparams["valid_pairs"]).astype(np.float32)
    brain = RefinerBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams | {"train_data": train_data},
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.fit(
        hparams["epoch_counter"],
        train_data,
        list(torch.from_numpy(valid)),
        train_loader_kwargs=hparams["train_loader_opts"],
        valid_loader_kwargs=hparams["valid_loader_opts"],
    )


def begin_with(network: torch.nn.Module, path: str | Path) -> None:
    """Load weights, or the averaged ones of an earlier run."""
    tensors = read_tensors(path)
    state = {
        key.removeprefix("module."): value.float()
        if value.is_floating_point()
        else value
        for key, value in tensors.items()
        if key != "n_averaged"
    }
    try:
        network.load_state_dict(state)
    except RuntimeError as err:
        raise ValueError(
            f"{path} holds a network of other sizes than the YAML describes; "
            f"give the sizes that it has, or begin with another file. {err}"
        ) from err
