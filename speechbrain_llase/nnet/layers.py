"""Layers that the three networks share, for rows packed end to end.

A `LayerTree` holds weights under the names of the published checkpoints, and
functions run it: `transformers`, which has the same trees, would take longer
to import than a short file to enhance.

The residual stream stays in float32 whatever the weights are held in; only
what enters a matrix product is rounded. Each function has an eager form that
trains, and the same form is what inference runs.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch.nn import functional as F

from speechbrain_llase.nnet.int8 import Int8Linear, quantise_rows
from speechbrain_llase.nnet.packed_linear import PackedLinear
from speechbrain_llase.nnet.packing import Runs

NORM_EPS = 1e-6  # of the norms of LLaMA and Xcodec2
SCORES = 5 << 20  # attention scores in one piece; more fall out of the cache
# On CPUs with AMX, torch 2.11 computes noise for grouped convolutions in
# bfloat16 with fewer input channels a group and 16 or more taps.
SAFE_CHANNELS = 16


class LayerTree(torch.nn.Module):
    """Layers, parameters and numbers under the names that are given."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def attention_layers(
    size: int,
    num_heads: int,
    names: Sequence[str] = ("q_proj", "k_proj", "v_proj", "o_proj"),
    bias: bool = False,
    dropout: float = 0.0,
) -> LayerTree:
    """Make the four projections of an attention over rows of a size.

    A ValueError, if the heads do not divide it.
    """
    if size % num_heads:
        raise ValueError(
            f"num_heads={num_heads} must divide the width of the layers, {size}."
        )
    linears = {name: torch.nn.Linear(size, size, bias) for name in names}
    sizes = {"num_heads": num_heads, "head_dim": size // num_heads}
    return LayerTree(**linears, **sizes, dropout=dropout)


def project(linear: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """Apply a linear layer to rows rounded to what its weights are held in."""
    return linear(rows.to(input_dtype(linear)))


def project_all(
    linears: list[torch.nn.Module], rows: torch.Tensor
) -> list[torch.Tensor]:
    """Apply linear layers of one kind to the same rows, rounded once."""
    if isinstance(linears[0], Int8Linear):
        quantised = quantise_rows(rows)
        return [linear.multiply(*quantised) for linear in linears]
    rows = rows.to(input_dtype(linears[0]))
    return [linear(rows) for linear in linears]


def query_key_value(
    attention: torch.nn.Module, rows: torch.Tensor
) -> list[torch.Tensor]:
    """Project rows to query, key and value, (total, H, D / H) each."""
    linears = [attention.q_proj, attention.k_proj, attention.v_proj]
    return [
        x.unflatten(1, (-1, attention.head_dim))
        for x in project_all(linears, rows)
    ]


def input_dtype(linear: torch.nn.Module) -> torch.dtype:
    """What a linear layer takes and gives."""
    if isinstance(linear, Int8Linear | PackedLinear):
        return linear.input_dtype
    return linear.weight.dtype


def rms_norm(norm: torch.nn.RMSNorm, rows: torch.Tensor) -> torch.Tensor:
    """Apply a root-mean-square norm in the dtype of the rows."""
    weight = norm.weight.to(rows.dtype)
    return F.rms_norm(rows, weight.shape, weight, norm.eps)


def layer_norm(norm: torch.nn.LayerNorm, rows: torch.Tensor) -> torch.Tensor:
    """Apply a layer norm in the dtype of the rows."""
    weight, bias = norm.weight.to(rows.dtype), norm.bias.to(rows.dtype)
    return F.layer_norm(rows, norm.normalized_shape, weight, bias, norm.eps)


def convolve(
    conv: torch.nn.Conv1d, x: torch.Tensor, padding: int = 0
) -> torch.Tensor:
    """Convolve (B, N, C) along N, channels last throughout.

    Gives (B, M, C') in the dtype of the weights; `padding` counts the zeros on
    both sides. Narrow groups are computed in float32; see `SAFE_CHANNELS`.
    """
    dtype = held = conv.weight.dtype
    if 1 < conv.groups and conv.in_channels // conv.groups < SAFE_CHANNELS:
        dtype = torch.float32
    weight = conv.weight.to(dtype).unsqueeze(2)
    weight = weight.contiguous(memory_format=torch.channels_last)
    image = x.to(dtype).transpose(1, 2).unsqueeze(2)
    image = F.conv2d(
        image,
        weight,
        None if conv.bias is None else conv.bias.to(dtype),
        (1, conv.stride[0]),
        (0, padding),
        groups=conv.groups,
        dilation=(1, conv.dilation[0]),
    )
    return image.squeeze(2).transpose(1, 2).to(held)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    runs: Runs,
    bias: list[torch.Tensor] | None = None,
    gate: torch.Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Let the rows (total, H, D) of each item attend to one another.

    A bias, (H, N, N) for each run, is added to the scaled scores; a gate,
    (total, H), is its factor for each query. Causal rows see only themselves
    and those before; dropout is a share of the weights. Gives (total, H * D).
    """
    sizes = [count * n for count, n in runs]
    gates = gate.split(sizes) if gate is not None else [None] * len(runs)
    parts = zip(
        query.split(sizes),
        key.split(sizes),
        value.split(sizes),
        gates,
        bias or [None] * len(runs),
        runs,
        strict=True,
    )
    results = []
    for q, k, v, gate_part, bias_part, run in parts:
        q, k, v = (x.unflatten(0, run).transpose(1, 2) for x in (q, k, v))
        if bias_part is not None:
            gate_part = gate_part.unflatten(0, run).transpose(1, 2)
        fast = q.device.type == "cpu" and q.dtype == torch.bfloat16
        if torch.is_grad_enabled() or dropout or has_matrix_units():
            fast = False
        attention = attend_in_blocks if fast else attend_at_once
        out = attention(q, k, v, bias_part, gate_part, causal, dropout)
        results.append(out.transpose(1, 2).flatten(2).flatten(0, 1))
    return results[0] if len(results) == 1 else torch.cat(results)


@cache
def has_matrix_units() -> bool:
    """Tell whether the CPU has AMX, for which PyTorch's attention is made."""
    return getattr(torch.cpu, "_is_amx_tile_supported", bool)()


def attend_at_once(q, k, v, bias, gate, causal, dropout) -> torch.Tensor:
    """Attention of (B, H, N, D) by PyTorch's kernel."""
    mask = None
    if bias is not None:
        mask = (gate.unsqueeze(-1) * bias).to(q.dtype)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=causal
    )


def attend_in_blocks(q, k, v, bias, gate, causal, dropout) -> torch.Tensor:
    """The same in bfloat16 on a CPU without AMX, where that is slower.

    Blocks of queries keep the scores in the cache, and a causal block leaves
    out the keys behind it.
    """
    batch, heads, rows, width = q.shape
    q, k, v = ((x.reshape(-1, rows, width)) for x in (q * width**-0.5, k, v))
    block = max(64, SCORES // (batch * heads * rows))
    if causal:
        block = min(block, max(64, rows // 4))
    out = torch.empty_like(q)
    for start in range(0, rows, block):
        stop = min(start + block, rows)
        seen = stop if causal else rows
        some, keys = q[:, start:stop], k[:, :seen].transpose(1, 2)
        if bias is None:
            scores = torch.bmm(some, keys)
        else:
            part = gate[:, :, start:stop, None] * bias[:, start:stop]
            scores = torch.baddbmm(part.flatten(0, 1), some, keys)
        if causal:
            ahead = torch.ones(stop - start, stop - start, dtype=torch.bool)
            scores[:, :, start:stop].masked_fill_(ahead.triu(1), -torch.inf)
        torch.bmm(scores.softmax(-1), v[:, :seen], out=out[:, start:stop])
    return out.unflatten(0, (batch, heads))
