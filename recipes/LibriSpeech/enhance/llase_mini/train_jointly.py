#!/usr/bin/env python3
"""Recipe for llase_mini: token LM, decoder and refiner learn together.

To run this recipe, do the following, after train_spectral_refiner.py and
publish.py:
> python train_jointly.py hparams/joint.yaml --data_folder=DATA \
    --model=FOLDER --valid_pairs=valid_pairs.npy

FOLDER is what publish.py wrote: the run begins with its networks and its
judges. Mixtures are made on the fly. The refiner learns from what the token LM
says of them, as in train_spectral_refiner.py; the token LM learns as in the
second run of train_token_lm.py, and to say what the refiner needs: the
gradient of the refiner's losses at the decoded wave goes on through the
decoder, which learns the same way, and from the codec's own tokens, too. In the
last epochs token LM and decoder, averaged, stay as they are. `publish.py
--checkpoint CKPT --refiner CKPT` takes the last checkpoint for all.
"""

import sys

import numpy as np
import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from wide_data import read_waves

from speechbrain_llase.augment.mixture_dataset import MixtureDataset
from speechbrain_llase.augment.target_mixtures import TargetSampler
from speechbrain_llase.lobes.xcodec2 import head_to_wave
from speechbrain_llase.nnet.fsq import codes_to_levels, mean_codes, quantise
from speechbrain_llase.nnet.matrices import Matrices
from speechbrain_llase.processing.signal_processing import (
    fit_length,
    to_active_level,
)
from speechbrain_llase.training.decoded_pairs import (
    DECODED,
    HEARD,
    SPEECH,
    TARGET,
    PairDataset,
    nearly_right,
)
from speechbrain_llase.training.losses import digit_loss
from speechbrain_llase.training.refiner_brain import RefinerBrain


class PairMixtures(MixtureDataset):
    """Mixtures and their targets, numbered as those of MixtureDataset."""

    def __getitem__(self, index: int) -> dict:
        """Make a `Pair`, as a dict, and what draws its damages."""
        key = [self.seed, int(self._epoch), index]
        pair = self.sampler.pair(np.random.default_rng(key))
        return vars(pair) | {"key": torch.tensor(key)}


class JointBrain(RefinerBrain):
    """Trains token LM and decoder through the refiner, and the refiner."""

    def init_optimizers(self):
        """Make optimizers and averages; `lm` is all before the refiner."""
        super().init_optimizers()
        hparams, modules = self.hparams, self.modules
        hparams.magnitude_loss.to(self.device)
        self.lm = torch.nn.ModuleDict(
            {name: modules[name] for name in ("frontend", "token_lm")}
        )
        self.lm_matrices = Matrices(self.lm, hparams.no_matrices)
        self.lm["vocoder"] = modules.vocoder
        self.optimizers_dict |= {
            "lm_matrices": hparams.matrix_opt_class(self.lm_matrices.views),
            "lm_others": self.opt_class(self.lm_matrices.others),
            "vocoder_opt": self.opt_class(modules.vocoder.parameters()),
        }
        self.lm_average = torch.optim.swa_utils.AveragedModel(
            self.lm,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(
                hparams.average_decay
            ),
        )
        for name in ("lm_matrices", "lm_others", "vocoder_opt"):
            self.checkpointer.add_recoverable(name, self.optimizers_dict[name])
        self.checkpointer.add_recoverable("lm_average", self.lm_average)

    def on_stage_start(self, stage, epoch=None):
        """Draw new mixtures; hold what does not learn."""
        if stage != sb.Stage.TRAIN:
            return
        self.hparams.train_data.set_epoch(epoch)
        self.lm_learns = epoch <= self.hparams.token_lm_epochs
        self.held = [self.modules.encoder]
        if not self.lm_learns:
            self.lm.load_state_dict(self.lm_average.module.state_dict())
            self.held.append(self.lm)
        for network in self.held:
            network.requires_grad_(False)

    def decode(self, lm, heard, damaged=False):
        """Logits, spectra and waves (B, T) of what is heard (B, T)."""
        if damaged:
            heard = self.damage(heard)
        with self.training_ctx:
            logits = lm["token_lm"](lm["frontend"](heard)).float()
            vocoder, codes = lm["vocoder"], mean_codes(logits)
            spectra, _ = vocoder.log_magnitudes(codes)
        waves = head_to_wave(
            vocoder.decoder.head,
            torch.cat([spectra, spectra], -1),  # of phases, too; none is used
            vocoder.phases,
            vocoder.floor,
        )
        return logits, spectra, fit_length(waves, heard.shape[1])

    def damage(self, heard):
        """Take pieces and bands out of a share of the items (B, T)."""
        hparams = self.hparams
        chosen = torch.rand(len(heard)) < hparams.damaged_share
        if chosen.any():
            lengths, heard = torch.ones(int(chosen.sum())), heard.clone()
            part = hparams.drop_chunk(heard[chosen], lengths)
            heard[chosen] = hparams.drop_freq(part)
        return heard

    def compute_forward(self, batch, stage):
        """Estimate magnitudes and phases (B, N, bins)."""
        if stage == sb.Stage.TRAIN:
            return self.modules.refiner.estimate(self.decoded, batch[:, HEARD])
        lm = self.lm_average.module.eval()
        _, _, decoded = self.decode(lm, batch[:, HEARD])
        batch[:, DECODED] = decoded
        return super().compute_forward(batch, stage)

    def fit_batch(self, batch):
        """Update judges and refiner, then token LM and decoder."""
        batch = {name: x.to(self.device) for name, x in batch.items()}
        for network in self.held:
            network.eval()
        with torch.set_grad_enabled(self.lm_learns):
            said = self.decode(self.lm, batch["heard"], self.lm_learns)
        rows, own = self.spoil(batch, said[2].detach())
        self.decoded = rows[:, DECODED].clone().requires_grad_(self.lm_learns)
        loss = super().fit_batch(rows)
        if self.lm_learns:
            self.teach(batch, *said, self.decoded.grad * own)
        return loss

    @torch.no_grad()
    def spoil(self, batch, decoded):
        """Replace some of the decoded waves, as `PairDataset` does.

        Gives its rows (B, 4, T), at levels that are off a little, and which
        decoded waves are the LM's own, (B, 1).
        """
        hparams, size = self.hparams, decoded.shape[1]
        names = {HEARD: "heard", TARGET: "target", SPEECH: "recorded"}
        rows = {k: batch[name] for k, name in names.items()} | {
            DECODED: decoded
        }
        rows = torch.stack([rows[k] for k in range(4)], 1)
        rng = np.random.default_rng(batch["key"].flatten().tolist())
        waves = rows.cpu().numpy()
        spoiler = PairDataset(waves.copy(), size, 1, 0, hparams.shares)
        for item, clean in zip(waves, batch["clean"], strict=True):
            if rng.random() < hparams.shares["right"]:
                codes = nearly_right(self.modules.encoder, clean, rng)
                wave = self.modules.vocoder.decode_codes(codes[None])
                item[DECODED] = fit_length(wave, size)[0].cpu()
            elif rng.random() < hparams.shares["better"]:
                item[DECODED] = spoiler.better(item[TARGET], rng)
            item[DECODED] = spoiler.spoilt(item[DECODED].copy(), rng)
        spoilt = torch.from_numpy(waves).to(self.device)
        own = (spoilt[:, DECODED] == decoded).all(1, keepdim=True)
        level = rng.uniform(-1, 1, (len(waves), 1)) * hparams.jitter_db / 20
        level = torch.from_numpy(10**level).to(spoilt)
        for row in names:
            spoilt[:, row] *= level
        return spoilt, own

    def teach(self, batch, logits, spectra, decoded, asked):
        """Update token LM and decoder by their losses and what is asked for.

        `asked` is the gradient of the refiner's losses at the decoded waves.
        """
        hparams = self.hparams
        speaks = batch["target"].abs().amax(1) > 0
        clean = to_active_level(batch["clean"], hparams.codec_level_db)
        with torch.no_grad():
            codes = quantise(self.modules.encoder(clean))
        levels = codes_to_levels(codes)
        rows = min(levels.shape[1], logits.shape[1])
        loss = digit_loss(logits[speaks, :rows], levels[speaks, :rows], 0.0)
        loss = loss + hparams.spectra_weight * self.distance(
            spectra[speaks], clean[speaks]
        )
        right = speaks.nonzero()[: hparams.codec_items, 0]
        with self.training_ctx:
            said, _ = self.modules.vocoder.log_magnitudes(codes[right])
        loss = loss + hparams.codec_weight * self.distance(said, clean[right])
        learning = list(self.modules.vocoder.parameters())
        own, through = (
            torch.autograd.grad(
                y,
                [logits, *learning],
                dy,
                retain_graph=True,
                materialize_grads=True,
            )
            for y, dy in ((loss, None), (decoded, asked))
        )
        share = hparams.refiner_share * own[0].norm()
        share = share / (through[0].norm() + 1e-12)
        self.lm.zero_grad()
        logits.backward(own[0] + share * through[0])
        for weight, x, y in zip(learning, own[1:], through[1:], strict=True):
            weight.grad = x + share * y
        norms = [
            torch.nn.utils.clip_grad_norm_(x.parameters(), hparams.lm_clip_norm)
            for x in self.lm.values()
        ]
        if all(map(torch.isfinite, norms)):
            self.lm_matrices.hand_on_gradients()
            self.optimizers_dict["lm_matrices"].step()
            self.optimizers_dict["lm_others"].step()
            self.optimizers_dict["vocoder_opt"].step()
            self.lm_average.update_parameters(self.lm)
        hparams.lm_annealing(
            self.optimizers_dict["lm_matrices"],
            self.optimizers_dict["lm_others"],
        )
        hparams.vocoder_annealing(self.optimizers_dict["vocoder_opt"])

    def distance(self, spectra, clean):
        """Of log magnitudes (B, N, bins) from those of clean waves (B, T)."""
        samples = spectra.shape[1] * self.modules.vocoder.hop_length
        clean = fit_length(clean, samples)
        return self.hparams.magnitude_loss(spectra.float(), clean)


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    waves = read_waves(hparams["data_folder"], "train", hparams["development"])
    sampler = TargetSampler(**waves, **hparams["mixtures"])
    train_data = PairMixtures(
        sampler, hparams["mixtures_per_epoch"], hparams["seed"]
    )
    hparams["train_data"] = train_data
    valid = np.load(hparams["valid_pairs"]).astype(np.float32)
    hparams["pretrainer"].collect_files()
    hparams["pretrainer"].load_collected()
    brain = JointBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
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
