"""A learning-rate schedule for every step of a training."""

import math

import torch
from speechbrain.utils import checkpoints


@checkpoints.register_checkpoint_hooks
class CosineDecay:
    """Linear warm-up, then half a cosine down to a final value.

    Arguments
    ---------
    lr, lr_final : float
        The highest and the last learning rate.
    warmup_steps : int
        Steps from 0 to lr.
    total_steps : int
        Step at which lr_final is reached; it stays there.

    Example
    -------
    >>> schedule = CosineDecay(1.0, 0.0, 10, 110)
    >>> round(schedule.lr_at(5), 2), schedule.lr_at(60), schedule.lr_at(200)
    (0.5, 0.5, 0.0)
    """

    def __init__(
        self, lr: float, lr_final: float, warmup_steps: int, total_steps: int
    ):
        self.lr, self.lr_final = lr, lr_final
        self.warmup_steps, self.total_steps = warmup_steps, total_steps
        self.step = 0

    def lr_at(self, step: int) -> float:
        """Learning rate of one step."""
        if step < self.warmup_steps:
            return self.lr * step / self.warmup_steps
        span = max(self.total_steps - self.warmup_steps, 1)
        done = min((step - self.warmup_steps) / span, 1.0)
        swing = 0.5 * (1 + math.cos(math.pi * done))
        return self.lr_final + (self.lr - self.lr_final) * swing

    def __call__(self, *optimizers: torch.optim.Optimizer) -> None:
        """Count one step and set the optimizers' learning rate."""
        self.step += 1
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.lr_at(self.step)

    @checkpoints.mark_as_saver
    def save(self, path):
        """Save the step reached."""
        torch.save({"step": self.step}, path)

    @checkpoints.mark_as_loader
    def load(self, path, end_of_epoch):
        """Go on from the step saved."""
        self.step = torch.load(path, weights_only=True)["step"]
