"""The forward pass of a LLaMA backbone, for packed rows.

Weights, their names and their shapes are those of `transformers.LlamaModel`.
"""

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaModel

from speechbrain_llase.nnet.compilation import fusible
from speechbrain_llase.nnet.layers import (
    attend,
    project,
    project_all,
    query_key_value,
    rms_norm,
)
from speechbrain_llase.nnet.packing import Runs


def build_llama(
    size: int,
    num_layers: int,
    num_heads: int,
    ffn_size: int,
    dropout: float = 0.1,
) -> LlamaModel:
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
    backbone : transformers.LlamaModel
    """
    config = LlamaConfig(
        hidden_size=size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        intermediate_size=ffn_size,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        attention_dropout=dropout,
        vocab_size=1,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )
    backbone = LlamaModel(config)
    backbone.embed_tokens = None
    return backbone


def run_llama(
    backbone: torch.nn.Module, rows: torch.Tensor, runs: Runs
) -> torch.Tensor:
    """Run all layers and the final norm: float32 (total, D) to the same.

    Positions begin anew in each item of the runs. A `LlamaModel` has as many
    key as query heads.
    """
    turn = rotation(backbone, rows, runs)
    for layer in backbone.layers:
        rows = run_layer(layer, rows, runs, turn)
    return rms_norm(backbone.norm, rows)


def rotation(
    backbone: torch.nn.Module, rows: torch.Tensor, runs: Runs
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and signed sine of the rotary embedding, (total, 1, D / H)."""
    frequency = backbone.rotary_emb.inv_freq.float()
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
    dropout = attention.attention_dropout if layer.training else 0.0
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
