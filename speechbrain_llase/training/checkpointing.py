"""What a training keeps when it is killed, beside weights and optimizer."""

import os
import shutil

import torch
from speechbrain.utils import checkpoints
from speechbrain.utils.distributed import ddp_barrier, if_main_process

from speechbrain_llase.nnet.fsq import NUM_DIGITS

PARTIAL = ".CKPT.partial"  # the meta file, while the others are written


class WholeCheckpointer(checkpoints.Checkpointer):
    """SpeechBrain's `Checkpointer` with checkpoints that survive a kill.

    There, a folder counts as a checkpoint from its first file on, and a run
    that is killed while it saves cannot be resumed. Here it counts once all
    files are written.
    """

    def save_checkpoint(self, *args, **kwargs):
        """Save, then make it count; see `Checkpointer`."""
        if if_main_process():
            for partial in self.checkpoints_dir.glob(f"*/{PARTIAL}"):
                shutil.rmtree(partial.parent)  # of a run that was killed
        saved = super().save_checkpoint(*args, **kwargs)
        if saved is not None:
            os.replace(saved.path / PARTIAL, saved.path / checkpoints.METAFNAME)
        ddp_barrier()  # or ranks see other checkpoints, and wait for ever
        return saved

    def _save_checkpoint_metafile(self, fpath, *args, **kwargs):
        return super()._save_checkpoint_metafile(
            fpath.with_name(PARTIAL), *args, **kwargs
        )


@checkpoints.register_checkpoint_hooks
class EpochTotals:
    """Sums over the batches of an epoch, on all ranks, kept when it is killed."""

    def __init__(self):
        self.sums = torch.zeros(4, dtype=torch.float64)

    def add(self, counts: torch.Tensor) -> None:
        """Add a batch's loss, frames, right tokens and right digits."""
        self.sums += counts.cpu().double()  # MPS has no float64

    def stats(self) -> dict[str, float]:
        """Mean loss and accuracies per frame."""
        loss, frames, tokens, digits = self.sums.tolist()
        frames = max(frames, 1)
        return {
            "loss": loss / frames,
            "token_accuracy": tokens / frames,
            "digit_accuracy": digits / frames / NUM_DIGITS,
        }

    @checkpoints.mark_as_saver
    def save(self, path):
        """Save the sums."""
        torch.save({"sums": self.sums}, path)

    @checkpoints.mark_as_loader
    def load(self, path, end_of_epoch):
        """Go on in the middle of an epoch, or begin a new one."""
        if not end_of_epoch:
            self.sums = torch.load(path, weights_only=True)["sums"]


@checkpoints.register_checkpoint_hooks
class TokenizerName:
    """Remembers whose tokens are learned; a run never changes them."""

    def __init__(self, name: str):
        self.name = name

    @checkpoints.mark_as_saver
    def save(self, path):
        """Save the name."""
        torch.save({"tokenizer": self.name}, path)

    @checkpoints.mark_as_loader
    def load(self, path, end_of_epoch):
        """Refuse to go on with other tokens."""
        name = torch.load(path, weights_only=True)["tokenizer"]
        if name != self.name:
            raise ValueError(
                f"This run has learned tokens of {name}, now it is given "
                f"those of {self.name}; use another output_folder."
            )
