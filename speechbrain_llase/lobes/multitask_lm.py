"""MultitaskLM: features of a mixture and of a reference -> clean tokens.

The network of LLaSE-G1 (Kang et al., arXiv:2503.00493): two inputs, x for a
reference (a loopback, an enrolment, another speaker; zeros where there is
none) and y for the mixture; two heads. A task is a choice of inputs and of
one head; `inference/multitask.py` knows them. Without a reference it is
called as a `TokenLM` is.

Authors
 * The speechbrain_llase contributors 2026
"""

import torch
from torch.nn.utils.rnn import pad_sequence

from speechbrain_llase.lobes.llama import build_llama, run_llama
from speechbrain_llase.lobes.token_lm import HEADS, TokenHead, check_head
from speechbrain_llase.nnet.layers import project
from speechbrain_llase.nnet.packing import Runs, pack, unpack
from speechbrain_llase.nnet.precision import hold_weights, weights_to_come

MULTITASK_HEADS = ("x", "y")


class MultitaskLM(torch.nn.Module, TokenHead):
    """Predict the clean token of every frame of a mixture, or of a reference.

    Arguments
    ---------
    input_size : int
        Width of the features (1024 in the released model).
    d_model : int
        Width that each input is projected to (1024); the backbone has twice
        that.
    num_layers, num_heads : int
        Layers and attention heads of the backbone (16, 16).
    ffn_size : int
        Width of the SwiGLU layers (4096).
    dropout : float
        Dropout of the attention in training.
    compute : str
        What weights are held in: float32, bfloat16, int8 or auto.
    head : str
        "softmax" (released) or "digits", which a small model can learn.

    Example
    -------
    >>> lm = MultitaskLM(32, 16, 1, 2, 32)
    >>> mixture, enrolment = torch.rand(50, 32), torch.rand(30, 32)
    >>> [
    ...     tokens.shape
    ...     for tokens in lm.predict_each([mixture], [enrolment], "y")
    ... ]
    [torch.Size([50])]
    """

    def __init__(
        self,
        input_size: int,
        d_model: int,
        num_layers: int,
        num_heads: int,
        ffn_size: int,
        dropout: float = 0.1,
        compute: str = "float32",
        head: str = "softmax",
    ):
        super().__init__()
        self.head = check_head(head)
        with weights_to_come():
            self.audio_linear_x = torch.nn.Linear(input_size, d_model)
            self.audio_linear_y = torch.nn.Linear(input_size, d_model)
            self.backbone = build_llama(
                2 * d_model, num_layers, num_heads, ffn_size, dropout
            )
            for name in MULTITASK_HEADS:
                layer = torch.nn.Linear(2 * d_model, HEADS[head])
                setattr(self, f"predict_layer_{name}", layer)
        exact = tuple(f"predict_layer_{x}" for x in MULTITASK_HEADS)
        exact = exact if head == "digits" else ()
        self.compute = hold_weights(self, compute, exact)

    def forward(
        self,
        mixtures: torch.Tensor,
        references: torch.Tensor | None = None,
        head: str = "x",
    ) -> torch.Tensor:
        """Compute the logits of every frame's clean token.

        Arguments
        ---------
        mixtures : torch.Tensor
            float (B, N, input_size).
        references : torch.Tensor, optional
            float (B, M, input_size); None stands for features of zeros.
        head : str
            "x" or "y".

        Returns
        -------
        logits : torch.Tensor
            (B, max(N, M), 65536), of digits (B, max(N, M), 8, 4).
        """
        references = None if references is None else list(references)
        hidden = torch.stack(self.hidden_each(list(mixtures), references))
        return self.through(head).logits(hidden)

    def predict_each(
        self,
        mixtures: list[torch.Tensor],
        references: list[torch.Tensor | None] | None = None,
        head: str = "x",
    ) -> list[torch.Tensor]:
        """Pick the tokens of items of any lengths, without padding.

        Arguments
        ---------
        mixtures : list of torch.Tensor
            float (N, input_size) each.
        references : list, optional
            float (M, input_size) each, or None where there is none.
        head : str
            "x" or "y".

        Returns
        -------
        tokens : list of torch.Tensor
            int64 (max(N, M),) each, in [0, 65536).
        """
        hidden, runs = pack(self.hidden_each(mixtures, references))
        return unpack(self.through(head).pick(hidden), runs)

    def hidden_each(
        self,
        mixtures: list[torch.Tensor],
        references: list[torch.Tensor | None] | None = None,
    ) -> list[torch.Tensor]:
        """Run all but the heads: float32 (max(N, M), 2 d_model) each."""
        references = references or [None] * len(mixtures)
        rows, runs = pack(list(map(self.join, mixtures, references)))
        return unpack(run_llama(self.backbone, rows, runs), runs)

    def hidden(self, rows: torch.Tensor, runs: Runs) -> torch.Tensor:
        """Run mixtures (total, input_size) alone: (total, 2 d_model)."""
        return run_llama(self.backbone, self.join(rows), runs)

    def join(
        self, mixture: torch.Tensor, reference: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Project both inputs, and lay them side by side.

        The shorter one is padded with zeros after its projection; an absent
        reference is zeros before it, so that the bias stays.
        """
        if reference is None:
            reference = torch.zeros_like(mixture)
        x = project(self.audio_linear_x, reference).float()
        y = project(self.audio_linear_y, mixture).float()
        return pad_sequence([x, y]).flatten(1)  # (rows, 2, d) -> (rows, 2 d)

    @property
    def predict_layer(self) -> torch.nn.Linear:
        """The head that enhances."""
        return self.predict_layer_x

    def through(self, name: str) -> "OneHead":
        """Give the same network, for joined inputs, with a head: x or y."""
        if name not in MULTITASK_HEADS:
            raise ValueError(
                f"head={name!r} is not known; choose one of "
                f"{', '.join(MULTITASK_HEADS)}."
            )
        layer = getattr(self, f"predict_layer_{name}")
        return OneHead(self.backbone, layer, self.head)


class OneHead(TokenHead):
    """A backbone with one head, whose rows are what `MultitaskLM.join` gives."""

    def __init__(
        self,
        backbone: torch.nn.Module,
        predict_layer: torch.nn.Linear,
        head: str = "softmax",
    ):
        self.backbone, self.predict_layer = backbone, predict_layer
        self.head = head

    def hidden(self, rows: torch.Tensor, runs: Runs) -> torch.Tensor:
        """Run all but the head on (total, 2 d_model)."""
        return run_llama(self.backbone, rows, runs)
