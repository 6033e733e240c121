"""How sure the token LM is: entropy and margin of every frame's posterior."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from speechbrain_llase.inference.windows import Window, by_file
from speechbrain_llase.nnet.fsq import NUM_DIGITS, NUM_LEVELS, mean_codes
from speechbrain_llase.nnet.packing import pack, unpack
from speechbrain_llase.nnet.precision import own_precision

if TYPE_CHECKING:
    from speechbrain_llase.inference.stages import Stages

UNSURE = math.log(2)  # nats; the second best is at least half as likely
LOGIT_ROWS = 128  # frames whose logits are held at a time


@dataclasses.dataclass(frozen=True)
class Confidence:
    """A file's details in a few figures."""

    num_tokens: int
    entropy: float  # nats, mean over frames; 0 is certain, 11.09 knows nothing
    margin: float  # nats, mean: log of how much likelier the best token is
    log_prob: float  # nats, mean, of the tokens that were decoded
    unsure: float  # share of frames whose margin is below log 2


@dataclasses.dataclass(frozen=True)
class Details:
    """What the token LM knew, frame by frame."""

    tokens: torch.Tensor  # int64 (N,), 50 a second, in [0, 65536)
    entropy: torch.Tensor  # float32 (N,), nats, in [0, 11.09]
    margin: torch.Tensor  # float32 (N,), nats, best over second-best token
    log_prob: torch.Tensor  # float32 (N,), nats, of `tokens`

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.tokens)

    def __getitem__(self, frames: slice) -> "Details":
        """Cut out some frames."""
        return Details(*(x[frames] for x in self._fields()))

    @staticmethod
    def cat(parts: Sequence["Details"]) -> "Details":
        """Join consecutive parts; none give an empty one."""
        if not parts:
            none = torch.zeros(0, dtype=torch.float32)
            return Details(none.long(), none, none, none)
        return Details(
            *map(torch.cat, zip(*(part._fields() for part in parts)))
        )

    def cpu(self) -> "Details":
        """Bring them to the CPU."""
        return Details(*(x.cpu() for x in self._fields()))

    def summary(self) -> Confidence:
        """Average over the frames; NaN where there is none."""
        return Confidence(
            num_tokens=len(self),
            entropy=float(self.entropy.mean()),
            margin=float(self.margin.mean()),
            log_prob=float(self.log_prob.mean()),
            unsure=float((self.margin < UNSURE).float().mean()),
        )

    def _fields(self):
        return self.tokens, self.entropy, self.margin, self.log_prob


def measure_logits(logits: torch.Tensor, tokens: torch.Tensor) -> Details:
    """Measure the posterior of every frame of logits (N, 65536) or (N, 8, 4).

    The eight digits of a token are predicted independently, so the entropy of
    a token is the sum of theirs, and the second-best token differs from the
    best in the one digit that is most in doubt. Tokens, int64 (N,), are those
    that are decoded.

    Example
    -------
    >>> logits = torch.zeros(1, 8, 4)
    >>> details = measure_logits(logits, torch.tensor([7]))
    >>> details.entropy.exp().round(), details.margin
    (tensor([65536.]), tensor([0.]))
    """
    log_probs = logits.float().log_softmax(-1)  # (N, V) or (N, 8, 4)
    entropy = torch.special.entr(log_probs.exp()).sum(-1)
    best = log_probs.topk(2, -1).values
    margin = best[..., 0] - best[..., 1]
    if logits.dim() == 2:
        log_prob = log_probs.gather(-1, tokens[:, None]).squeeze(-1)
        return Details(tokens, entropy, margin, log_prob)
    places = NUM_LEVELS ** torch.arange(NUM_DIGITS, device=tokens.device)
    digits = tokens[:, None] // places % NUM_LEVELS  # (N, 8)
    log_prob = log_probs.gather(-1, digits.unsqueeze(-1)).squeeze(-1).sum(-1)
    return Details(tokens, entropy.sum(-1), margin.amin(-1), log_prob)


def measure_hidden(
    token_lm: torch.nn.Module, hidden: torch.Tensor, tokens: torch.Tensor
) -> Details:
    """Measure the posteriors of hidden states (N, D), some rows at a time.

    Tokens, int64 (N,), are those that are decoded.
    """
    parts = zip(hidden.split(LOGIT_ROWS), tokens.split(LOGIT_ROWS), strict=True)
    return Details.cat(
        [measure_logits(token_lm.logits(h), t) for h, t in parts]
    )


def pick_scored(
    token_lm: torch.nn.Module, hidden: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pick the most likely tokens of hidden states (N, D): int64 (N,).

    And say how likely they are: float32 (N,), nats. The head makes the logits
    once, some at a time.
    """
    if token_lm.head == "digits":
        log_probs = token_lm.logits(hidden).float().log_softmax(-1)
        return token_lm.pick(hidden), log_probs.amax(-1).sum(-1)
    norms = []
    tokens = token_lm.pick(hidden, norms)
    head = token_lm.predict_layer
    best = (head.weight[tokens].float() * hidden.float()).sum(-1)
    best = best + head.bias[tokens].float()
    return tokens, best - torch.stack(norms).logsumexp(0)


@dataclasses.dataclass(frozen=True)
class Posterior:
    """What the token LM knows of one window."""

    hidden: torch.Tensor  # float32 (N, D), of which the head makes logits
    tokens: torch.Tensor  # int64 (N,), the most likely
    log_prob: torch.Tensor | None  # float32 (N,), nats, of `tokens`; if asked


def score_each(
    token_lm: torch.nn.Module,
    feats: list[torch.Tensor],
    mean: bool = False,
    likely: bool = False,
) -> list[tuple[torch.Tensor, Posterior]]:
    """Predict what is decoded of features (N, D) each, and how surely.

    With `mean`, the codes (N, 8) of the mean, not the most likely tokens (N,);
    with `likely`, it is said how likely the tokens are, at the cost of some
    more arithmetic.
    """
    rows, runs = pack(feats)
    hidden = token_lm.hidden(rows, runs)
    log_probs = [None] * len(feats)
    if likely:
        tokens, log_prob = pick_scored(token_lm, hidden)
        log_probs = unpack(log_prob, runs)
    else:
        tokens = token_lm.pick(hidden)
    codes = mean_codes(token_lm.logits(hidden)) if mean else tokens
    parts = unpack(hidden, runs), unpack(tokens, runs), log_probs
    return list(zip(unpack(codes, runs), map(Posterior, *parts), strict=True))


def measure_files(
    stages: "Stages",
    posteriors: list[Posterior],
    plans: list[list[Window]],
    tokens: list[torch.Tensor] | None = None,
) -> list[Details]:
    """Tell how sure the token LM was: the details of each file, on the CPU.

    Posteriors are those of all windows; `tokens`, (N,) of each window, are
    those that are decoded in place of the most likely ones.
    """
    tokens = tokens or [known.tokens for known in posteriors]
    token_lm = stages.token_lm
    own = own_precision(stages.device)
    with torch.no_grad(), own, stages.inference_ctx:
        found = [
            measure_hidden(token_lm, known.hidden, own)
            for known, own in zip(posteriors, tokens, strict=True)
        ]
    return [
        Details.cat([w.kept(x) for x, w in zip(own, plan)]).cpu()
        for own, plan in zip(by_file(found, plans), plans, strict=True)
    ]
