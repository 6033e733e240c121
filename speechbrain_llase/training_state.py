"""What a training keeps over a kill, beside weights and optimizer.

Authors
 * The speechbrain_llase contributors 2026
"""

import torch
from speechbrain.utils import checkpoints

from speechbrain_llase.fsq import NUM_DIGITS


@checkpoints.register_checkpoint_hooks
class Tally:
    """Sums over the batches of an epoch, on all ranks, kept over a kill."""

    def __init__(self):
        self.sums = torch.zeros(4, dtype=torch.float64)

    def add(self, counts: torch.Tensor) -> None:
        """Add a batch's loss, frames, right tokens and right digits."""
        self.sums += counts.double().cpu()

    def stats(self) -> dict[str, float]:
        """Mean loss and accuracies a frame."""
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
