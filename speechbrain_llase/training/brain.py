"""TokenLMBrain: trains a token LM on cached tokens of clean speech.

Frontend and vocoder are frozen and the codec's encoder is not there at all;
what learns is decided by `FineTunedLM`. A run that is killed and started again
goes on as if nothing had happened: same batches, same noise, same losses.
"""

import re
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process

from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.processing.hearing import hear
from speechbrain_llase.processing.signal_processing import to_peak
from speechbrain_llase.training.checkpointing import EpochTotals, TokenizerName
from speechbrain_llase.training.items import (
    ItemMaker,
    item_seconds,
    make_dataset,
)
from speechbrain_llase.training.sampler import make_loader
from speechbrain_llase.training.token_loss import TokenScores


class Part:
    """One part of the data: its items and how they become batches.

    `entries` are ID -> entry, with its duration; `segment_s` is the longest
    item in seconds.
    """

    def __init__(
        self, entries: dict, maker: ItemMaker, segment_s: float | None
    ):
        self.maker = maker
        self.dataset = make_dataset(entries, maker)
        self.seconds = item_seconds(entries, segment_s)


class TokenLMBrain(sb.Brain):
    """Trains on noisy speech and clean tokens.

    Modules: `frontend` and `vocoder` (`Frozen`), `token_loss`. See
    `train_token_lm` for what else it needs.
    """

    place = (0, 1)  # rank and number of processes
    hears_speech = False  # brought to one level, as the base's YAML says

    def init_optimizers(self):
        """One optimizer for what learns, and its schedule."""
        weights = [w for w in self.modules.parameters() if w.requires_grad]
        self.optimizer = self.opt_class(weights)
        self.optimizers_dict = {"opt_class": self.optimizer}
        epochs = self.hparams.epoch_counter.limit
        steps = epochs * (self.steps_in_epoch // self.grad_accumulation_factor)
        if not steps:
            raise ValueError(
                f"An epoch has {self.steps_in_epoch} batches, fewer than "
                f"grad_accumulation_factor={self.grad_accumulation_factor}."
            )
        self.schedule = self.hparams.schedule(total_steps=steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.lr_at(1)
        self.totals, self.valid_totals = EpochTotals(), EpochTotals()
        self.checkpointer.add_recoverables(
            {
                "optimizer": self.optimizer,
                "schedule": self.schedule,
                "tally": self.totals,  # the name that checkpoints know
                "tokenizer": TokenizerName(self.tokenizer_id),
            }
        )

    def on_fit_batch_start(self, batch, should_step):
        """Give every step its own seed, for dropout."""
        epoch = self.hparams.epoch_counter.current
        numbers = [self.hparams.seed, epoch, self.step, self.place[0]]
        torch.manual_seed(hash(tuple(numbers)) % 2**63)

    def compute_forward(self, batch, stage):
        """Predict the clean tokens of noisy speech and compare."""
        batch = batch.to(self.device)
        noisy, lengths = batch.noisy
        heard = (
            hear_rows(noisy, lengths) if self.hears_speech else to_peak(noisy)
        )
        feats = self.modules.frontend(heard, lengths)
        return self.modules.token_loss(feats, batch.tokens.data)

    def compute_objectives(self, scores: TokenScores, batch, stage):
        """Mean over the frames of all ranks, as of one large batch."""
        right = scores.tokens_right, scores.digits_right
        counts = torch.stack([scores.loss.detach(), scores.frames, *right])
        if stage != sb.Stage.TRAIN:
            self.valid_totals.add(counts)
            return scores.loss / scores.frames
        world_size = self.place[1]
        if world_size > 1:
            torch.distributed.all_reduce(counts)
        self.totals.add(counts)
        return scores.loss * world_size / counts[1]

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Set the next step's learning rate."""
        if should_step:
            self.schedule(self.optimizer)

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        """Save between steps of the optimizer only: gradients are not kept."""
        between = self.step % self.grad_accumulation_factor == 0
        return between and super()._should_save_intra_epoch_ckpt(
            last_ckpt_time, steps_since_ckpt
        )

    def on_stage_start(self, stage, epoch=None):
        """Draw the epoch's batches and noise; the validation never changes."""
        if stage == sb.Stage.TRAIN:
            self.parts["train"].maker.set_epoch(epoch)
            self.train_loader.batch_sampler.set_epoch(epoch)
        else:
            self.valid_totals = EpochTotals()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, score and keep the best checkpoints."""
        if stage == sb.Stage.TRAIN:
            self.train_stats = self.totals.stats()
            self.totals.sums.zero_()
            return
        stats = self.valid_totals.stats()
        loss, accuracy = stats["loss"], stats["token_accuracy"]
        every = getattr(self.hparams, "metrics_every", 0)
        test = stage == sb.Stage.TEST
        if every and (test or epoch % every == 0) and if_main_process():
            stats |= self.score_clips("test" if test else "valid")
        if test:
            meta = {"Epoch loaded": self.hparams.epoch_counter.current}
            self.log(meta, {"test_stats": stats})
            return
        meta = {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]}
        parts = {"train_stats": self.train_stats, "valid_stats": stats}
        self.log(meta, parts)
        self.checkpointer.save_and_keep_only(
            meta={"loss": loss, "token_accuracy": accuracy, "epoch": epoch},
            num_to_keep=self.hparams.keep_checkpoints,
            min_keys=["loss"],
        )

    def score_clips(self, part: str) -> dict[str, float]:
        """Score some clips of a part; see `Quality`."""
        names = "frontend", "token_lm", "vocoder"
        networks = {name: getattr(self.hparams, name) for name in names}
        dataset, mods = self.parts[part].dataset, torch.nn.ModuleDict(networks)
        with self.evaluation_ctx:
            return self.hparams.quality(part, dataset, mods, self.device)

    def log(self, meta, parts):
        """Write the text log and TensorBoard, whose steps are epochs."""
        self.hparams.train_logger.log_stats(meta, **parts)
        board = self.hparams.tensorboard_logger
        before = self.hparams.epoch_counter.current - 1
        board.global_step["meta"] = before
        for name, stats in parts.items():
            steps = board.global_step[name.removesuffix("_stats")]
            steps.update(dict.fromkeys(stats, before))
        numbers = {k: v for k, v in meta.items() if k != "epoch"}
        board.log_stats(numbers, **parts)


def hears_speech(source: str) -> bool:
    """Tell whether the model in a folder says `hears: speech`."""
    yaml = Path(source, "hyperparams.yaml")
    text = yaml.read_text("utf-8") if yaml.is_file() else ""
    return re.search(r"^hears: *speech\b", text, re.MULTILINE) is not None


def hear_rows(noisy: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Hear rows (B, T) without what lies past their relative lengths (B,)."""
    heard = torch.zeros_like(noisy)
    for row, wav, length in zip(heard, noisy, lengths, strict=True):
        size = round(float(length) * len(wav))
        row[:size] = hear(wav[:size])[0]
    return heard


def train_token_lm(
    hparams: dict,
    run_opts: dict,
    parts: dict[str, Part],
    tokenizer_id: str,
    kind: type[TokenLMBrain] = TokenLMBrain,
) -> TokenLMBrain:
    """Load, adapt, train, and evaluate the best checkpoint.

    `hparams` are those of a recipe's YAML; `parts` are `train`, `valid` and,
    if it is to be evaluated, `test`; `kind` says how a batch is heard.
    """
    source = str(resolve_source(hparams["base"]))
    hparams["pretrainer"].collect_files(default_source=source)
    hparams["pretrainer"].load_collected()
    hparams["fine_tuned"].adapt()
    brain = kind(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    brain.hears_speech = hears_speech(source)
    if quality := hparams.get("quality"):
        quality.hparams.hears = "speech" if brain.hears_speech else "peak"
    if brain.distributed_launch:
        ranks = torch.distributed
        brain.place = ranks.get_rank(), ranks.get_world_size()
    loaders, batching = {}, hparams["valid_batching"]
    for name, part in parts.items():
        place = brain.place if name == "train" else (0, 1)
        loaders[name] = make_loader(
            part.dataset,
            part.seconds,
            hparams["batching"] if name == "train" else batching,
            hparams["seed"],
            hparams["num_workers"],
            *place,
        )
    brain.parts, brain.train_loader = parts, loaders["train"]
    brain.tokenizer_id = tokenizer_id
    brain.steps_in_epoch = len(loaders["train"])
    brain.checkpointer.add_recoverable("dataloader-TRAIN", loaders["train"])
    brain.fit(hparams["epoch_counter"], loaders["train"], loaders["valid"])
    if "test" in loaders:
        brain.evaluate(loaders["test"], min_key="loss")
    return brain
