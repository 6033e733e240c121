"""The forward pass of WavLM's first layers, for waveforms of any lengths.

Weights, their names and their shapes are those of
`transformers.models.wavlm` (Chen et al., arXiv:2110.13900). Convolutions keep
channels last, and the gated relative position bias is one row of distances,
laid out, instead of a table look-up for every pair of rows.
"""

import math

import torch
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from speechbrain_llase.nnet.compilation import fusible
from speechbrain_llase.nnet.cuda_graphs import replayable
from speechbrain_llase.nnet.layers import (
    LayerTree,
    attend,
    attention_layers,
    convolve,
    input_dtype,
    layer_norm,
    project,
    query_key_value,
)
from speechbrain_llase.nnet.packing import Runs, each_run
from speechbrain_llase.processing.framing import HOP_LENGTH, MIN_SAMPLES

POSITION_KERNEL, POSITION_GROUPS = 128, 16  # of the position embedding
CHUNK = 100  # rows that the convolutions make at a time, to stay in the cache


def build_encoder(
    size: int,
    num_layers: int,
    num_heads: int,
    ffn_size: int,
    num_buckets: int,
    max_distance: int,
    dropout: float,
) -> LayerTree:
    """Build the transformer alone, without its final norm."""
    conv = torch.nn.Conv1d(
        size,
        size,
        POSITION_KERNEL,
        padding=POSITION_KERNEL // 2,
        groups=POSITION_GROUPS,
    )
    encoder = LayerTree(
        pos_conv_embed=LayerTree(conv=weight_norm(conv, dim=2)),
        dropout=torch.nn.Dropout(dropout),
        layers=torch.nn.ModuleList(),
    )
    for index in range(num_layers):  # the first holds the bias of all
        buckets = None if index else num_buckets
        layer = build_layer(size, num_heads, ffn_size, dropout, buckets)
        encoder.layers.append(layer)
    encoder.layers[0].attention.max_distance = max_distance
    return encoder


def build_layer(
    size: int,
    num_heads: int,
    ffn_size: int,
    dropout: float,
    num_buckets: int | None,
) -> LayerTree:
    """Build one transformer layer, with a position bias if there are buckets."""
    names = ("k_proj", "v_proj", "q_proj", "out_proj")
    attention = attention_layers(size, num_heads, names, True, dropout)
    constant = torch.ones(1, num_heads, 1, 1)
    attention.gru_rel_pos_const = torch.nn.Parameter(constant)
    attention.gru_rel_pos_linear = torch.nn.Linear(size // num_heads, 8)
    if num_buckets:
        attention.rel_attn_embed = torch.nn.Embedding(num_buckets, num_heads)
    return LayerTree(
        attention=attention,
        dropout=torch.nn.Dropout(dropout),
        layer_norm=torch.nn.LayerNorm(size),
        feed_forward=LayerTree(
            intermediate_dropout=torch.nn.Dropout(dropout),
            intermediate_dense=torch.nn.Linear(size, ffn_size),
            output_dense=torch.nn.Linear(ffn_size, size),
            output_dropout=torch.nn.Dropout(dropout),
        ),
        final_layer_norm=torch.nn.LayerNorm(size),
    )


def run_wavlm(wavlm: torch.nn.Module, wavs: list[torch.Tensor]) -> tuple:
    """Run the convolutions and the transformer on runs of equal lengths.

    `wavlm` is that of `WavLMFrontend`, waves are (B, T) each, T at least 400;
    gives float32 (total, D), and items and rows of each run.
    """
    blocks = [convolve_wav(wavlm.feature_extractor, wav) for wav in wavs]
    runs = [tuple(block.shape[:2]) for block in blocks]
    rows = torch.cat([block.flatten(0, 1) for block in blocks])
    projection = wavlm.feature_projection
    rows = layer_norm(projection.layer_norm, rows.float())
    rows = project(projection.projection, rows).float()
    return run_encoder(wavlm.encoder, rows, runs), runs


@replayable
def run_encoder(
    encoder: torch.nn.Module, rows: torch.Tensor, runs: Runs
) -> torch.Tensor:
    """Run the transformer on float32 (total, D), without the final norm."""
    rows = encoder.dropout(rows + encode_positions(encoder, rows, runs))
    first = encoder.layers[0].attention
    dtype = input_dtype(first.q_proj)
    biases = [distance_bias(first, n, dtype) for _, n in runs]
    for layer in encoder.layers:
        rows = run_layer(layer, rows, runs, biases)
    return rows


def convolve_wav(
    extractor: torch.nn.Module, wavs: torch.Tensor
) -> torch.Tensor:
    """Turn (B, T) into (B, N, C), some seconds at a time."""
    count = (wavs.shape[1] - MIN_SAMPLES) // HOP_LENGTH + 1
    if wavs.device.type != "cpu" or torch.is_grad_enabled():
        return convolve_chunk(extractor, wavs)
    chunks = []
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        samples = slice(
            start * HOP_LENGTH, (stop - 1) * HOP_LENGTH + MIN_SAMPLES
        )
        chunks.append(convolve_chunk(extractor, wavs[:, samples]))
    return torch.cat(chunks, dim=1)


def convolve_chunk(
    extractor: torch.nn.Module, wavs: torch.Tensor
) -> torch.Tensor:
    """Run the seven convolutions on (B, T), each with norm and GELU."""
    first, *others = extractor.conv_layers
    (kernel,), (stride,) = first.conv.kernel_size, first.conv.stride
    frames = wavs.unfold(1, kernel, stride).contiguous()
    weight = first.conv.weight.squeeze(1)
    x = F.linear(frames.to(weight.dtype), weight)
    x = norm_and_gelu(first.layer_norm, x)
    for layer in others:
        x = norm_and_gelu(layer.layer_norm, convolve(layer.conv, x))
    return x


@fusible
def norm_and_gelu(norm: torch.nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    """Norm and GELU of (B, N, C)."""
    return F.gelu(layer_norm(norm, x))


def encode_positions(
    encoder: torch.nn.Module, rows: torch.Tensor, runs: Runs
) -> torch.Tensor:
    """Position embedding of (total, D): a wide grouped convolution."""
    conv = encoder.pos_conv_embed.conv
    half = conv.kernel_size[0] // 2

    def stage(x):
        """Convolve (B, N, D); an even kernel gives one row too many."""
        return F.gelu(convolve(conv, x, half)[:, : x.shape[1]])

    return each_run(stage, rows, runs).float()


def distance_bias(
    attention: torch.nn.Module, rows: int, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Lay out the bias of every distance as (H, N, N).

    Keys lie side by side: PyTorch's fast attention takes no other mask.
    """
    embed = attention.rel_attn_embed
    distance = torch.arange(1 - rows, rows, device=embed.weight.device)
    bucket = bucket_of(distance, embed.num_embeddings, attention.max_distance)
    by_distance = embed(bucket).t().to(dtype)  # (H, 2 N - 1)
    return by_distance.unfold(1, rows, 1).flip(1).contiguous()


def bucket_of(
    distance: torch.Tensor, num_buckets: int, max_distance: int
) -> torch.Tensor:
    """Sort distances in rows into buckets, int64 (...) each.

    One half of the buckets is for each sign; of a half, one half for single
    distances, the other for ranges that grow by a factor, the last open.
    """
    half = num_buckets // 2
    exact = half // 2
    near, sign = distance.abs(), (distance > 0).long() * half
    ratio = torch.log(near.float() / exact) / math.log(max_distance / exact)
    far = (exact + ratio * (half - exact)).long().clamp(max=half - 1)
    return sign + torch.where(near < exact, near, far)


def run_layer(
    layer: torch.nn.Module,
    rows: torch.Tensor,
    runs: Runs,
    biases: list[torch.Tensor],
) -> torch.Tensor:
    """Run one transformer layer on (total, D)."""
    q, k, v, gate = before_attention(layer, rows)
    dropout = layer.attention.dropout if layer.training else 0.0
    hidden = attend(q, k, v, runs, biases, gate, dropout=dropout)
    return after_attention(layer, rows, hidden)


@fusible
def before_attention(
    layer: torch.nn.Module, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Norm and projections: query, key, value (total, H, D / H), and gate."""
    attention = layer.attention
    hidden = layer_norm(layer.layer_norm, rows)
    gate = position_gate(attention, hidden)
    q, k, v = query_key_value(attention, hidden)
    return q, k, v, gate.to(q.dtype)


@fusible
def after_attention(
    layer: torch.nn.Module, rows: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    """Add the attention's output, and the feed-forward layer's."""
    hidden = project(layer.attention.out_proj, hidden)
    rows = rows + layer.dropout(hidden)
    feed = layer.feed_forward
    hidden = layer_norm(layer.final_layer_norm, rows)
    hidden = F.gelu(project(feed.intermediate_dense, hidden))
    hidden = project(feed.output_dense, feed.intermediate_dropout(hidden))
    return rows + feed.output_dropout(hidden)


def position_gate(
    attention: torch.nn.Module, hidden: torch.Tensor
) -> torch.Tensor:
    """How much of the position bias each row and head takes, (total, H)."""
    by_head = hidden.unflatten(1, (attention.num_heads, -1))
    linear = attention.gru_rel_pos_linear
    parts = linear(by_head.to(linear.weight.dtype)).float()
    parts = parts.unflatten(-1, (2, 4)).sum(-1).sigmoid()  # (total, H, 2)
    constant = attention.gru_rel_pos_const.flatten()
    return parts[..., 0] * (parts[..., 1] * constant - 1) + 2
