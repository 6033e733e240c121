"""TokenLM: noisy features -> clean Xcodec2 tokens, in one causal pass.

The input stage of the released LLaSE (projection, sinusoidal positions and a
layer norm whose scale and shift come from a stage embedding), a LLaMA
backbone (run by llama.py), and a head: over all 65,536 tokens, as released,
or over the eight 4-way digits of a token, which a small model can learn.
"""

from functools import lru_cache

import torch

from speechbrain_llase.lobes.llama import build_llama, run_llama
from speechbrain_llase.nnet.fsq import (
    NUM_DIGITS,
    NUM_LEVELS,
    VOCAB_SIZE,
    levels_to_tokens,
)
from speechbrain_llase.nnet.layers import layer_norm, project
from speechbrain_llase.nnet.packing import Runs
from speechbrain_llase.nnet.precision import hold_weights, weights_to_come

HEADS = {"softmax": VOCAB_SIZE, "digits": NUM_DIGITS * NUM_LEVELS}
CLASSES = 8192  # of the softmax head, whose logits are held at a time
BLOCK_CLASSES = 256  # of those, among which the largest is found at a time


class TokenHead:
    """What is asked of an LM behind its backbone, by one layer.

    An LM has `head`, "softmax" or "digits", and `predict_layer`, from the
    backbone's width D to 65,536 or 32 logits.
    """

    head: str
    predict_layer: torch.nn.Linear

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the head to (..., D)."""
        logits = project(self.predict_layer, hidden)
        if self.head == "digits":
            logits = logits.unflatten(-1, (NUM_DIGITS, NUM_LEVELS))
        return logits

    def pick(
        self, hidden: torch.Tensor, norms: list[torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Pick the most likely tokens of (total, D), int64 (total,).

        A list of norms gets, of the softmax head, what `pick_class` says.
        """
        if self.head == "digits":
            return levels_to_tokens(self.logits(hidden).argmax(-1))
        return pick_class(self.predict_layer, hidden, norms)


class TokenLM(torch.nn.Module, TokenHead):
    """Predict the clean token of every frame.

    Arguments
    ---------
    input_size : int
        Width of the features (1024 in the released model).
    d_model : int
        Width of the backbone (1024).
    num_layers : int
        Layers of the backbone (12).
    num_heads : int
        Attention heads (16).
    ffn_size : int
        Width of the SwiGLU layers (4096).
    head : str
        "softmax" (released) or "digits".
    dropout : float
        Dropout of the attention in training (0.1).
    compute : str
        What weights are held in: float32, bfloat16, int8 or auto; see
        nnet/precision.py.

    Example
    -------
    >>> token_lm = TokenLM(32, 16, 1, 2, 32, head="digits")
    >>> token_lm(torch.rand(1, 50, 32)).shape
    torch.Size([1, 50, 8, 4])
    >>> token_lm.predict(torch.rand(1, 50, 32)).shape
    torch.Size([1, 50])
    """

    def __init__(
        self,
        input_size: int,
        d_model: int,
        num_layers: int,
        num_heads: int,
        ffn_size: int,
        head: str = "softmax",
        dropout: float = 0.1,
        compute: str = "float32",
    ):
        super().__init__()
        self.head = check_head(head)
        with weights_to_come():
            self.audio_linear = torch.nn.Linear(input_size, d_model)
            self.stage_embedding = torch.nn.Embedding(1, d_model)
            self.stage_norm = StageNorm(d_model)
            self.backbone = build_llama(
                d_model, num_layers, num_heads, ffn_size, dropout
            )
            self.predict_layer = torch.nn.Linear(d_model, HEADS[head])
        exact = ("predict_layer",) if head == "digits" else ()
        self.compute = hold_weights(self, compute, exact)

    def forward(self, feats: torch.Tensor) -> torch.Tensor:
        """Compute the logits of every frame's clean token.

        Of features (B, N, input_size): (B, N, 65536) for the softmax head,
        (B, N, 8, 4) for digits. Padding on the right changes nothing before
        it: the backbone is causal.
        """
        rows, runs = feats.flatten(0, 1), [tuple(feats.shape[:2])]
        hidden = self.hidden(rows, runs).unflatten(0, feats.shape[:2])
        return self.logits(hidden)

    def predict(self, feats: torch.Tensor) -> torch.Tensor:
        """Pick the most likely token of every frame.

        Features are float (B, N, input_size), tokens int64 (B, N) in
        [0, 65536).
        """
        rows, runs = feats.flatten(0, 1), [tuple(feats.shape[:2])]
        return self.pick(self.hidden(rows, runs)).unflatten(0, feats.shape[:2])

    def hidden(self, rows: torch.Tensor, runs: Runs) -> torch.Tensor:
        """Run all but the head: (total, input_size) -> float32 (total, D)."""
        hidden = project(self.audio_linear, rows).float()
        longest = max(n for _, n in runs)
        positions = sinusoid_on(hidden.device, longest, hidden.shape[1])
        counts = [n for count, n in runs for _ in range(count)]
        hidden = hidden + torch.cat([positions[:n] for n in counts])
        hidden = self.stage_norm(hidden, self.stage_embedding.weight[0])
        return run_llama(self.backbone, hidden, runs)


def check_head(head: str) -> str:
    """Refuse a head that is none of `HEADS`."""
    if head not in HEADS:
        raise ValueError(
            f"head={head!r} is not known; choose one of {sorted(HEADS)}."
        )
    return head


def pick_class(
    head: torch.nn.Linear,
    hidden: torch.Tensor,
    norms: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Pick the most likely of the 65,536 tokens of every row.

    Logits are made some thousand classes at a time; the best of each are
    compared again in float32, for logits rounded to bfloat16 are often equal.

    Arguments
    ---------
    head : torch.nn.Linear
        From D to 65,536 logits.
    hidden : torch.Tensor
        (total, D).
    norms : list, optional
        Gets the log of the sum of exponentials (total,) of each part.

    Returns
    -------
    tokens : torch.Tensor
        int64 (total,).
    """
    weight, bias = head.weight, head.bias
    rounded = hidden.to(weight.dtype)
    best = []
    for at in range(0, VOCAB_SIZE, CLASSES):
        part = slice(at, at + CLASSES)
        logits = torch.nn.functional.linear(rounded, weight[part], bias[part])
        best.append(largest_of(logits) + at)
        if norms is not None:
            norms.append(logits.logsumexp(-1).float())
    best = torch.stack(best, dim=-1)  # (total, parts)
    logits = (weight[best].float() @ hidden.float().unsqueeze(-1)).squeeze(-1)
    logits = logits + bias[best].float()
    return best.gather(1, logits.argmax(-1, keepdim=True)).squeeze(1)


def largest_of(logits: torch.Tensor) -> torch.Tensor:
    """Give the place of the largest of (total, CLASSES): int64 (total,).

    The first, if there are several. In two steps: PyTorch finds a maximum
    several times as fast as its place.
    """
    blocks = logits.unflatten(1, (-1, BLOCK_CLASSES))
    block = blocks.amax(-1).max(-1).indices
    found = block[:, None, None].expand(-1, 1, BLOCK_CLASSES)
    within = blocks.gather(1, found).squeeze(1).max(-1).indices
    return block * BLOCK_CLASSES + within


class StageNorm(torch.nn.Module):
    """Layer norm with scale and shift projected from an embedding."""

    def __init__(self, d_model: int):
        super().__init__()
        self.project_layer = torch.nn.Linear(d_model, 2 * d_model)
        self.norm = torch.nn.LayerNorm(d_model, eps=1e-5)

    def forward(
        self, hidden: torch.Tensor, stage: torch.Tensor
    ) -> torch.Tensor:
        """Normalise (..., D) with the scale and shift of stage (D,)."""
        affine = project(self.project_layer, stage[None])[0]
        scale, shift = affine.to(hidden).chunk(2)
        return scale * layer_norm(self.norm, hidden) + shift


@lru_cache(maxsize=8)
def sinusoid_on(
    device: torch.device, num_frames: int, d_model: int
) -> torch.Tensor:
    """Positions made on the CPU, whatever the device, and kept there."""
    with torch.inference_mode(False):  # what is cached must train, too
        return sinusoid(num_frames, d_model).to(device)


def sinusoid(num_frames: int, d_model: int) -> torch.Tensor:
    """Sinusoidal positions as the released model has them: (N, D), in [-1, 1].

    Every dimension i has a frequency of its own, ``10000 ** (-i / d_model)``,
    unlike the usual pairing; even ones are sines, odd ones cosines.
    """
    dims = torch.arange(d_model, dtype=torch.float32)
    rate = torch.pow(10000.0, -dims / d_model)
    angle = torch.arange(num_frames, dtype=torch.float32)[:, None] * rate
    angle[:, 0::2] = angle[:, 0::2].sin()
    angle[:, 1::2] = angle[:, 1::2].cos()
    return angle
