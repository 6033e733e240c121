"""The forward pass of a LLaMA backbone, for packed rows.

Weights, their names and their shapes are those of `transformers.LlamaModel`.
"""

import torch
from torch.nn import functional as F

from speechbrain_llase.nnet.compilation import fusible
from speechbrain_llase.nnet.cuda_graphs import replayable
from speechbrain_llase.nnet.layers import (
    NORM_EPS,
    LayerTree,
    attend,
    attention_layers,
    project,
    project_all,
    query_key_value,
    rms_norm,
)
from speechbrain_llase.nnet.packing import Runs

ROTARY_BASE = 10000.0
INITIAL_STD = 0.02  # of the matrices, as those of `transformers.LlamaModel`


def build_llama(
    size: int,
    num_layers: int,
    num_heads: int,
    ffn_size: int,
    dropout: float = 0.1,
) -> LayerTree:
    """Build a backbone that embedded rows come into, not words.

    Arguments
    ---------
    size : int
        Width of the rows.
    num_layers, num_heads, ffn_size : int
        Layers, attention heads and width of the SwiGLU layers.
    dropout : float
        Dropout of the attention in training.

    Returns
    -------
    backbone : LayerTree
        layers, norm, and the frequencies of the rotary embedding.
    """
    sizes = size, num_heads, ffn_size, dropout
    layers = [build_layer(*sizes) for _ in range(num_layers)]
    backbone = LayerTree(
        layers=torch.nn.ModuleList(layers),
        norm=torch.nn.RMSNorm(size, eps=NORM_EPS),
    )
    exponent = torch.arange(0, size // num_heads, 2).float()
    frequencies = 1.0 / ROTARY_BASE ** (exponent / (size // num_heads))
    backbone.register_buffer("frequencies", frequencies, persistent=False)
    for layer in backbone.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=INITIAL_STD)
    return backbone


def build_layer(
    size: int, num_heads: int, ffn_size: int, dropout: float
) -> LayerTree:
    """Build one layer of it."""
    return LayerTree(
        self_attn=attention_layers(size, num_heads, dropout=dropout),
        mlp=LayerTree(
            gate_proj=torch.nn.Linear(size, ffn_size, bias=False),
            up_proj=torch.nn.Linear(size, ffn_size, bias=False),
            down_proj=torch.nn.Linear(ffn_size, size, bias=False),
        ),
        input_layernorm=torch.nn.RMSNorm(size, eps=NORM_EPS),
        post_attention_layernorm=torch.nn.RMSNorm(size, eps=NORM_EPS),
    )


@replayable
def run_llama(
    backbone: torch.nn.Module, rows: torch.Tensor, runs: Runs
) -> torch.Tensor:
    """Run all layers and the final norm: float32 (total, D) to the same.

    Positions begin anew in each item of the runs.
    """
    turn = rotation(backbone, rows, runs)
    for layer in backbone.layers:
        rows = run_layer(layer, rows, runs, turn)
    return rms_norm(backbone.norm, rows)


def rotation(
    backbone: torch.nn.Module, rows: torch.Tensor, runs: Runs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and signed sine of the rotary embedding, (total, 1, D / H)."""
    frequency = backbone.frequencies.float()
    longest = max(n for _, n in runs)
    position = torch.arange(longest, device=rows.device, dtype=torch.float32)
    angle = position[:, None] * frequency
    cos = angle.cos().repeat(1, 2)
    sin = torch.cat((-angle.sin(), angle.sin()), dim=1)
    counts = [n for count, n in runs for _ in range(count)]
    return tuple(
        torch.cat([part[:n] for n in counts]).unsqueeze(1)
        for part in (cos, sin)
    )


def rotate(
    x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Turn (total, H, D) by the angles of its rows."""
    cos, sin = turn
    return (x * cos + x.roll(x.shape[-1] // 2, -1) * sin).to(x.dtype)


def run_layer(
    layer: torch.nn.Module,
    rows: torch.Tensor,
    runs: Runs,
    turn: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Run one causal layer on (total, D)."""
    attention = layer.self_attn
    q, k, v = before_attention(layer, rows, turn)
    dropout = attention.dropout if layer.training else 0.0
    hidden = attend(q, k, v, runs, causal=True, dropout=dropout)
    return after_attention(layer, rows, hidden)


@fusible
def before_attention(
    layer: torch.nn.Module,
    rows: torch.Tensor,
    turn: tuple[torch.Tensor, torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Norm, projections and rotation: query, key and value (total, H, D / H)."""
    hidden = rms_norm(layer.input_layernorm, rows)
    q, k, v = query_key_value(layer.self_attn, hidden)
    return rotate(q, turn), rotate(k, turn), v


@fusible
def after_attention(
    layer: torch.nn.Module, rows: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    """Add the attention's output, and the SwiGLU layer's."""
    mlp = layer.mlp
    rows = rows + project(layer.self_attn.o_proj, hidden)
    hidden = rms_norm(layer.post_attention_layernorm, rows)
    gate, up = project_all([mlp.gate_proj, mlp.up_proj], hidden)
    return rows + project(mlp.down_proj, F.silu(gate) * up)
