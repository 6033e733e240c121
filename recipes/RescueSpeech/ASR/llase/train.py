#!/usr/bin/env python3
"""Recipe for an enhancer and a SpeechBrain recogniser, trained together.

To run this recipe, do the following:
> python train.py hparams/train.yaml --train_csv=train.csv \
>     --valid_csv=valid.csv --test_csv=test.csv

Noisy speech is enhanced, the recogniser reads it, and its loss trains the
recogniser, the enhancer's token LM, or both (`learns`). Frontend and vocoder
stay as they are. At the end the best checkpoint is evaluated as by
evaluate.py. Started again, a run goes on after its last whole epoch.
"""

import sys
from pathlib import Path

import speechbrain as sb
import torch
from evaluate import check_rates, dataio_prep, evaluate, write
from hyperpyyaml import load_hyperpyyaml
from speechbrain.dataio.dataloader import SaveableDataLoader
from words_loss import WordsLoss

from speechbrain_llase.training.straight_through import enhance_with_gradient

CHOICES = ("recogniser", "enhancer")
CASES = {"upper": str.upper, "lower": str.lower, "keep": str}


class JointBrain(sb.Brain):
    """Trains on noisy speech and its words.

    Modules: those of `learns`, `recogniser` (`WordsLoss`) and `enhancer` (a
    token LM); `words_loss` and `enhancing` are given from outside.
    """

    def init_optimizers(self):
        """One optimizer a part: of its groups, only the first is clipped."""
        self.optimizers_dict = {
            f"optimizer_{name}": self.opt_class(
                part.parameters(), lr=self.hparams.lr[name]
            )
            for name, part in self.modules.items()
        }
        self.checkpointer.add_recoverables(self.optimizers_dict)

    def compute_forward(self, batch, stage):
        """Enhance; with a gradient where the enhancer learns."""
        self.set_modes(stage)
        batch = batch.to(self.device)
        noisy, lengths = batch.noisy_sig
        if "enhancer" in self.modules:
            return enhance_with_gradient(self.enhancing, noisy, lengths)
        return self.enhancing.enhance_batch(noisy, lengths).to(self.device)

    def compute_objectives(self, enhanced, batch, stage):
        """The recogniser's loss of what it reads in the enhanced speech."""
        case = CASES[self.hparams.case]
        texts = [case(t) for t in batch[self.hparams.columns["words"]]]
        # cuDNN gives no gradient through a recurrent layer in eval mode,
        # which a recogniser that does not learn is in; PyTorch's own does.
        with torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled and self.words_loss.training
        ):
            return self.words_loss(enhanced, batch.noisy_sig.lengths, texts)

    def set_modes(self, stage):
        """Dropout in the recogniser alone, and only where it learns.

        It is done for each batch: `Brain` puts all modules into training mode
        after `on_stage_start`.
        """
        learns = "recogniser" in self.modules and stage == sb.Stage.TRAIN
        self.words_loss.train(learns)
        self.enhancing.eval()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, and keep the best checkpoints."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
            return
        self.hparams.train_logger.log_stats(
            {"epoch": epoch},
            train_stats={"loss": self.train_loss},
            valid_stats={"loss": stage_loss},
        )
        self.checkpointer.save_and_keep_only(
            meta={"loss": stage_loss, "epoch": epoch},
            num_to_keep=self.hparams.keep_checkpoints,
            min_keys=["loss"],
        )


def make_brain(hparams, run_opts, enhancer, asr):
    """Put together what learns; the rest is frozen.

    Arguments
    ---------
    hparams : dict
        Of the YAML.
    run_opts : dict
        Of the command line.
    enhancer, asr : Pretrained
        The two interfaces.

    Returns
    -------
    brain : JointBrain

    Raises
    ------
    ValueError
        `learns` or `case` names something else.
    """
    learns = hparams["learns"]
    if not learns or set(learns) - set(CHOICES):
        raise ValueError(f"learns={learns}; name one or both of {CHOICES}.")
    if hparams["case"] not in CASES:
        raise ValueError(f"case={hparams['case']!r}; choose from {set(CASES)}.")
    check_rates(enhancer, asr)
    words_loss = WordsLoss(asr, hparams["blank_index"])
    parts = {"recogniser": words_loss, "enhancer": enhancer.mods.token_lm}
    for name, part in parts.items():
        part.requires_grad_(name in learns)
    brain = JointBrain(
        modules={name: parts[name] for name in learns},
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.checkpointer.add_recoverables({n: parts[n] for n in learns})
    brain.words_loss, brain.enhancing = words_loss, enhancer
    return brain


if __name__ == "__main__":
    hparams_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:])
    with open(hparams_file, encoding="utf-8") as fin:
        hparams = load_hyperpyyaml(fin, overrides)
    sb.create_experiment_directory(
        hparams["output_folder"], hparams_file, overrides
    )
    options = {key: run_opts[key] for key in ("device",) if key in run_opts}
    enhancer = hparams["enhancer"](run_opts=options)
    asr = hparams["asr"](run_opts=options)
    brain = make_brain(hparams, run_opts, enhancer, asr)
    loaders = [
        SaveableDataLoader(
            dataio_prep(hparams, enhancer, file)[0],
            batch_size=hparams["batch_size"],
            shuffle=file == hparams["train_csv"],
            num_workers=hparams["num_workers"],
            collate_fn=sb.dataio.batch.PaddedBatch,
        )
        for file in (hparams["train_csv"], hparams["valid_csv"])
    ]
    brain.fit(hparams["epoch_counter"], *loaders)
    brain.on_evaluate_start(min_key="loss")  # loads the best checkpoint
    enhancer.eval(), asr.eval()
    with torch.no_grad():
        results = evaluate(hparams, run_opts, enhancer, asr)
    write(results, Path(hparams["output_folder"]))
