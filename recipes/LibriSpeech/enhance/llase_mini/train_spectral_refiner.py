#!/usr/bin/env python3
"""Recipe for the predictive half of llase_mini.

To run this recipe, do the following, after prepare_pairs.py:
> python train_spectral_refiner.py hparams/spectral_refiner.yaml \
    --pairs=pairs.npy --valid_pairs=valid.npy

The pairs hold mixtures, targets and decoded waves; each batch takes crops of
them. Decoded waves are left out, damaged, another's or nearly right in a part
of the batch, so that the refiner learns when to lean on them. Judges of
spectrograms (adversary.py) learn beside it. Matrices are updated by Muon
(torch from 2.9 on), the other weights by AdamW. `--init=average.ckpt` begins
with an earlier average. `publish.py --refiner` puts it into the model.
"""

import sys

import numpy as np
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_llase.pretrained.tensors import read_tensors
from speechbrain_llase.processing.framing import SAMPLE_RATE

HEARD, TARGET, DECODED, SPEECH = range(4)  # rows of a pair
LATE = 240  # samples that a damaged decoded wave is early or late
NEARLY = 160  # samples that a better one is
STRANGER = (800, 6400)  # samples of another's words in it
MOST_STRANGERS = 4  # of these, less one
HOLE = (1600, 9600)  # samples of a damage


class RefinerBrain(sb.Brain):
    """Trains the refiner on spectra of clean speech, against judges of them."""

    def init_optimizers(self):
        """Make the optimizers and the average of the weights."""
        refiner, hparams = self.modules.refiner, self.hparams
        self.matrices = Matrices(refiner)
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


class Matrices:
    """The matrices among a network's weights, for Muon, and what is left.

    Kernels are taken as matrices (size_out, rest); stacks as many of them.
    """

    def __init__(self, network):
        self.weights = [
            weight
            for name, weight in network.named_parameters()
            if is_matrix(name, weight)
        ]
        ids = {id(weight) for weight in self.weights}
        self.others = [x for x in network.parameters() if id(x) not in ids]
        self.views = [
            torch.nn.Parameter(part)
            for weight in self.weights
            for part in flat(weight.detach())
        ]

    def hand_on_gradients(self):
        """Give the views the gradients of their weights."""
        parts = [part for weight in self.weights for part in flat(weight.grad)]
        for view, gradient in zip(self.views, parts, strict=True):
            view.grad = gradient.contiguous()


def is_matrix(name, weight):
    """Whether Muon is for it: not the first and last sizes of a network."""
    return weight.dim() > 1 and name != "place" and not name.startswith("up.2")


def flat(weight):
    """Views of a weight as matrices."""
    if weight.dim() == 4:  # (size_out, size_in, 3, width), channels last
        return [weight.permute(0, 2, 3, 1).flatten(1)]
    return list(weight) if weight.dim() == 3 else [weight]


class PairDataset(torch.utils.data.Dataset):
    """Crops of pairs; some of their decoded waves are replaced or damaged.

    Arguments
    ---------
    pairs : np.ndarray
        (number, 4, T): see prepare_pairs.py.
    num_samples, length, seed : int
        Of a crop; items an epoch; item i of every epoch is always the same.
    shares : dict
        "better", "swapped", "dropped", "damaged": of the decoded waves.
    jitter_db : float
        How far levels may be off, to both sides.
    """

    def __init__(
        self,
        pairs,
        num_samples,
        length,
        seed,
        shares=None,
        jitter_db=4.0,
    ):
        self.pairs, self.num_samples = pairs, num_samples
        self.length, self.seed = length, seed
        self.shares, self.jitter_db = shares or {}, jitter_db
        self.epoch = 0

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        waves = self._crop(rng)
        if rng.random() < self.shares.get("better", 0):
            waves[DECODED] = self._better(waves[TARGET], rng)
        waves[DECODED] = self._spoilt(waves[DECODED], rng)
        level = np.float32(10 ** (rng.uniform(-1, 1) * self.jitter_db / 20))
        waves[[HEARD, TARGET, SPEECH]] *= level
        return torch.from_numpy(waves)

    def _crop(self, rng):
        """A crop of a pair, float32 (4, num_samples)."""
        index = rng.integers(len(self.pairs))
        start = rng.integers(self.pairs.shape[2] - self.num_samples + 1)
        part = self.pairs[index, :, start : start + self.num_samples]
        return part.astype(np.float32)

    def _better(self, target, rng):
        """As of a better decoder: coloured speech, here and there another's."""
        spectrum = np.fft.rfft(target)
        bins = np.linspace(0, 1, len(spectrum))
        knots = np.linspace(0, 1, 9)
        colour = np.interp(bins, knots, rng.uniform(-4, 4, len(knots)))
        wave = np.fft.irfft(spectrum * 10 ** (colour / 20), len(target))
        wave = (wave * 10 ** (rng.uniform(-10, 10) / 20)).astype(np.float32)
        for _ in range(rng.integers(MOST_STRANGERS)):
            start = rng.integers(self.num_samples - HOLE[0])
            part = slice(start, start + rng.integers(*STRANGER))
            wave[part] = self._crop(rng)[TARGET][part]
        return np.roll(wave, rng.integers(-NEARLY, NEARLY + 1))

    def _spoilt(self, decoded, rng):
        """Damage a decoded wave, leave it out or take another's."""
        shares = self.shares
        if rng.random() < shares.get("damaged", 0):
            decoded = self._damaged(decoded, rng)
        drawn = rng.random() - shares.get("swapped", 0)
        if drawn < 0:
            return self._crop(rng)[DECODED]
        return decoded * (drawn >= shares.get("dropped", 0))

    def _damaged(self, decoded, rng):
        """A hole, another's words, another level, or early or late."""
        start = rng.integers(self.num_samples - HOLE[0])
        part = slice(start, start + rng.integers(*HOLE))
        kind = rng.integers(4)
        if kind == 0:
            decoded[part] = 0
        elif kind == 1:
            decoded[part] = self._crop(rng)[DECODED][part]
        elif kind == 2:
            decoded = np.roll(decoded, rng.integers(-LATE, LATE + 1))
        else:
            decoded[part] *= np.float32(10 ** (rng.uniform(-12, 6) / 20))
        return decoded


def dataio_prep(hparams):
    """Open the pairs."""
    train_data = PairDataset(
        np.load(hparams["pairs"], mmap_mode="r"),
        round(hparams["segment_s"] * SAMPLE_RATE),
        hparams["crops_per_epoch"],
        hparams["seed"],
        hparams["shares"],
        hparams["jitter_db"],
    )
    valid = np.load(hparams["valid_pairs"]).astype(np.float32)
    return train_data, list(torch.from_numpy(valid))


def begin_with(refiner, path):
    """Load weights, or the averaged ones of an earlier run."""
    tensors = read_tensors(path)
    refiner.load_state_dict(
        {
            key.removeprefix("module."): value.float()
            if value.is_floating_point()
            else value
            for key, value in tensors.items()
            if key != "n_averaged"
        }
    )


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    if hparams["init"]:
        begin_with(hparams["refiner"], hparams["init"])
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
