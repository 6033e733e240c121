"""Cross-entropy over 65,536 tokens without copies of the logits.

The logits of eight clips of ten seconds take 1 GB in float32, and a plain
cross-entropy holds them several times. Here the head runs on a few rows at a
time, keeps their loss and their best token, and runs again in the backward
pass.
"""

import dataclasses

import torch
from torch.utils.checkpoint import checkpoint

from speechbrain_llase.nnet.fsq import (
    NUM_DIGITS,
    NUM_LEVELS,
    levels_to_tokens,
    tokens_to_levels,
)

NO_TOKEN = -100  # in targets: no frame of the item


@dataclasses.dataclass(frozen=True)
class TokenScores:
    """What a batch of predictions is worth; sums, so that they add up."""

    loss: torch.Tensor  # () sum over frames, in nats, with its gradient
    frames: torch.Tensor  # () int64
    tokens_right: torch.Tensor  # () int64
    digits_right: torch.Tensor  # () int64, of 8 a frame

    def __add__(self, other: "TokenScores") -> "TokenScores":
        """Add up two batches."""
        names = [field.name for field in dataclasses.fields(self)]
        sums = (getattr(self, x) + getattr(other, x) for x in names)
        return TokenScores(*sums)


def head_loss(
    hidden: torch.Tensor,
    head: torch.nn.Module,
    targets: torch.Tensor,
    digits: bool,
    label_smoothing: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a head on rows (R, D): logits (R, 65536), or (R, 32) for digits.

    The losses of the eight digits of a token are added. Targets are int64 (R,)
    in [0, 65536). Gives the loss, float32, summed over rows, and the most
    likely tokens, int64 (R,).
    """
    logits = head(hidden).float()
    goals = targets
    if digits:
        logits = logits.unflatten(-1, (NUM_DIGITS, NUM_LEVELS))
        goals = tokens_to_levels(targets)
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, -2),
        goals.flatten(),
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    best = logits.detach().argmax(-1)
    return loss, levels_to_tokens(best) if digits else best


class TokenLoss(torch.nn.Module):
    """Token LM and loss in one module, so that DDP sees one forward.

    Arguments
    ---------
    token_lm : torch.nn.Module
        A `TokenLM`, or `FineTunedLM` around one.
    rows : int
        Frames whose logits exist at once; 512 take 134 MB in float32.
    label_smoothing : float
        From 0 to 1.

    Example
    -------
    >>> from speechbrain_llase.lobes.token_lm import TokenLM
    >>> token_loss = TokenLoss(TokenLM(32, 16, 1, 2, 32, head="digits"), 8)
    >>> targets = torch.randint(65536, (2, 50))
    >>> scores = token_loss(torch.rand(2, 50, 32), targets)
    >>> scores.frames
    tensor(100)
    """

    def __init__(
        self, token_lm: torch.nn.Module, rows: int, label_smoothing: float = 0.0
    ):
        super().__init__()
        if rows < 1:
            raise ValueError(f"rows={rows}; at least one row at a time.")
        self.token_lm = token_lm
        self.rows = rows
        self.label_smoothing = label_smoothing

    def forward(
        self, feats: torch.Tensor, targets: torch.Tensor
    ) -> TokenScores:
        """Predict the tokens of a batch and compare.

        Features are float (B, N, D_in), targets int64 (B, N), -100 past the
        end of an item. A ValueError, if there are more or fewer targets than
        features.
        """
        if feats.shape[:2] != targets.shape:
            raise ValueError(
                f"{tuple(targets.shape)} tokens for {tuple(feats.shape[:2])} "
                "frames; the tokens are of other audio."
            )
        rows, runs = feats.flatten(0, 1), [tuple(feats.shape[:2])]
        return self.compare(
            self.token_lm.hidden(rows, runs), self.token_lm, targets
        )

    def compare(
        self, hidden: torch.Tensor, lm: torch.nn.Module, targets: torch.Tensor
    ) -> TokenScores:
        """Run the head of an LM on rows (B * N, D); compare with (B, N)."""
        kept = targets != NO_TOKEN
        hidden, targets = hidden[kept.flatten()], targets[kept]
        loss, best = hidden.new_zeros((), dtype=torch.float32), []
        parts = zip(
            hidden.split(self.rows), targets.split(self.rows), strict=True
        )
        for some, goals in parts:
            part, tokens = checkpoint(
                head_loss,
                some,
                lm.predict_layer,
                goals,
                lm.head == "digits",
                self.label_smoothing,
                use_reentrant=False,
                preserve_rng_state=False,
            )
            loss = loss + part
            best.append(tokens)
        best = torch.cat(best) if best else targets
        right = tokens_to_levels(best) == tokens_to_levels(targets)
        return TokenScores(
            loss=loss,
            frames=kept.sum(),
            tokens_right=(best == targets).sum(),
            digits_right=right.sum(),
        )
