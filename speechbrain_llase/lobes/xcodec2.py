"""The forward pass of Xcodec2's decoder, for packed rows.

Weights, their names and their shapes are those of
`transformers.models.xcodec2` (Ye et al., arXiv:2502.04128). Its rotary
embedding turns query and key of a head by the same angle whatever the row, so
it cancels and is left out.
"""

from functools import partial

import torch
from torch.nn import functional as F

from speechbrain_llase.nnet.compilation import fusible
from speechbrain_llase.nnet.cuda_graphs import replayable
from speechbrain_llase.nnet.layers import (
    NORM_EPS,
    LayerTree,
    attend,
    attention_layers,
    convolve,
    layer_norm,
    project,
    query_key_value,
    rms_norm,
)
from speechbrain_llase.nnet.packing import Runs, each_run
from speechbrain_llase.processing.framing import HOP_LENGTH
from speechbrain_llase.processing.mel_envelope import envelope_gain
from speechbrain_llase.processing.phase import pitched_phases
from speechbrain_llase.processing.signal_processing import synthesise

MAX_MAGNITUDE = 1e2
NORM_GROUPS = 32
BLOCK_DROPOUT = 0.1  # in a block of convolutions, in training
FLOOR_SLOPE = 4  # power of a magnitude over the floor, in what it keeps
FLOOR_SHARE = 0.2  # that is kept far below it; silence confuses recognisers


def build_decoder(
    code_size: int, size: int, num_layers: int, num_heads: int, ffn_size: int
) -> LayerTree:
    """Build the decoder of projected codes, with random weights.

    Arguments
    ---------
    code_size : int
        Width of the projected codes.
    size : int
        Width of the rows, a multiple of 32.
    num_layers, num_heads, ffn_size : int
        Transformer layers, their heads and the width of their inner layers.

    Returns
    -------
    decoder : LayerTree
        fc, embed, prior_net, layers, post_net, norm and head.
    """
    decoder = LayerTree(
        fc=torch.nn.Linear(code_size, size),
        embed=torch.nn.Conv1d(size, size, 7, padding=3),
        prior_net=torch.nn.ModuleList([build_block(size) for _ in range(2)]),
    )
    layers = [build_layer(size, num_heads, ffn_size) for _ in range(num_layers)]
    decoder.layers = torch.nn.ModuleList(layers)
    decoder.post_net = torch.nn.ModuleList(
        [build_block(size) for _ in range(2)]
    )
    decoder.norm = torch.nn.LayerNorm(size, eps=NORM_EPS)
    linear = torch.nn.Linear(size, 4 * HOP_LENGTH + 2)
    decoder.head = LayerTree(linear=linear, hop_length=HOP_LENGTH)
    window = torch.hann_window(4 * HOP_LENGTH)
    decoder.head.register_buffer("window", window, persistent=False)
    return decoder


def build_block(size: int) -> LayerTree:
    """Build a residual block of convolutions."""
    norms = [torch.nn.GroupNorm(NORM_GROUPS, size, NORM_EPS) for _ in range(2)]
    convs = [torch.nn.Conv1d(size, size, 3, padding=1) for _ in range(2)]
    return LayerTree(
        norm1=norms[0], conv1=convs[0], norm2=norms[1], conv2=convs[1]
    )


def build_layer(size: int, num_heads: int, ffn_size: int) -> LayerTree:
    """Build a transformer layer."""
    return LayerTree(
        self_attn=attention_layers(size, num_heads),
        mlp=LayerTree(
            fc1=torch.nn.Linear(size, ffn_size, bias=False),
            fc2=torch.nn.Linear(ffn_size, size, bias=False),
        ),
        input_layernorm=torch.nn.RMSNorm(size, eps=NORM_EPS),
        post_attention_layernorm=torch.nn.RMSNorm(size, eps=NORM_EPS),
    )


def run_decoder(
    decoder: torch.nn.Module,
    rows: torch.Tensor,
    runs: Runs,
    phases: str = "predicted",
    floor: float = 0.0,
) -> torch.Tensor:
    """Turn projected codes (total, quantization_dim) into a waveform.

    `decoder` is that of `build_decoder`; for `phases` and `floor` see
    `Xcodec2Vocoder`. Gives float32 (hop_length * total,).
    """
    rows = run_backbone(decoder, rows, runs)
    rows = project(decoder.head.linear, rows).float()
    finish = partial(head_to_wave, decoder.head, phases=phases, floor=floor)
    return each_run(finish, rows, runs)


@replayable
def run_backbone(
    decoder: torch.nn.Module, rows: torch.Tensor, runs: Runs
) -> torch.Tensor:
    """Run all in front of the head: what it is given, (total, hidden_size)."""
    rows = project(decoder.fc, rows)

    def enter(x):
        """Run the convolutions in front of the transformer."""
        x = convolve(decoder.embed, x, decoder.embed.padding[0]).float()
        for block in decoder.prior_net:
            x = run_block(block, x)
        return x

    def leave(x):
        """Run those behind it."""
        for block in decoder.post_net:
            x = run_block(block, x)
        return x

    rows = each_run(enter, rows, runs)
    for layer in decoder.layers:
        rows = run_layer(layer, rows, runs)
    return layer_norm(decoder.norm, each_run(leave, rows, runs))


def run_block(block: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Run one residual block of convolutions on (B, N, C)."""
    hidden = x
    pairs = ((block.norm1, block.conv1), (block.norm2, block.conv2))
    for norm, conv in pairs:
        hidden = norm_and_silu(norm, hidden)
        if conv is block.conv2:
            hidden = F.dropout(hidden, BLOCK_DROPOUT, block.training)
        hidden = convolve(conv, hidden, conv.padding[0])
    return x + hidden


@fusible
def norm_and_silu(norm: torch.nn.GroupNorm, x: torch.Tensor) -> torch.Tensor:
    """Norm over time and SiLU of (B, N, C)."""
    return F.silu(norm_over_time(norm, x))


def norm_over_time(norm: torch.nn.GroupNorm, x: torch.Tensor) -> torch.Tensor:
    """Group norm of (B, N, C): statistics over the time of each item."""
    image = x.float().transpose(1, 2).unsqueeze(2)
    weight, bias = norm.weight.float(), norm.bias.float()
    image = F.group_norm(image, norm.num_groups, weight, bias, norm.eps)
    return image.squeeze(2).transpose(1, 2)


def run_layer(
    layer: torch.nn.Module, rows: torch.Tensor, runs: Runs
) -> torch.Tensor:
    """Run one transformer layer on (total, D)."""
    attention = layer.self_attn
    q, k, v = before_attention(layer, rows)
    dropout = attention.dropout if layer.training else 0.0
    hidden = attend(q, k, v, runs, dropout=dropout)
    return after_attention(layer, rows, hidden)


@fusible
def before_attention(
    layer: torch.nn.Module, rows: torch.Tensor
) -> list[torch.Tensor]:
    """Norm and projections: query, key and value (total, H, D / H)."""
    hidden = rms_norm(layer.input_layernorm, rows)
    return query_key_value(layer.self_attn, hidden)


@fusible
def after_attention(
    layer: torch.nn.Module, rows: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    """Add the attention's output, and the feed-forward layer's."""
    mlp = layer.mlp
    rows = rows + project(layer.self_attn.o_proj, hidden)
    hidden = rms_norm(layer.post_attention_layernorm, rows)
    return rows + project(mlp.fc2, F.silu(project(mlp.fc1, hidden)))


def head_to_wave(
    head: torch.nn.Module,
    x: torch.Tensor,
    phases: str = "predicted",
    floor: float = 0.0,
) -> torch.Tensor:
    """Turn a head's rows (B, N, n_fft + 2) into waves (B, N * hop_length)."""
    magnitude, phase = x.chunk(2, dim=-1)
    magnitude = magnitude.exp().clamp(max=MAX_MAGNITUDE)
    if floor > 0:
        magnitude = fade(magnitude, floor)
    window = head.window.float()
    if phases == "pitch":
        asked = magnitude.detach()  # phases and gains are no one's to learn
        phase = pitched_phases(asked, window, head.hop_length)
        invert = partial(invert_stft, head, phase)
        gain = envelope_gain(asked, invert, window, head.hop_length)
        magnitude = magnitude * gain
    return invert_stft(head, phase, magnitude)


def fade(
    magnitude: torch.Tensor, floor: float, share: float = FLOOR_SHARE
) -> torch.Tensor:
    """Let magnitudes (...) below a floor fade, at most to a share of them."""
    above = magnitude.clamp(min=floor * share / 10)  # or gradients overflow
    kept = 1 / (1 + (floor / above).pow(FLOOR_SLOPE))
    return magnitude * kept.clamp(min=share)


def invert_stft(
    head: torch.nn.Module, phase: torch.Tensor, magnitude: torch.Tensor
) -> torch.Tensor:
    """Add up the frames of (B, N, n_fft / 2 + 1)."""
    spectra = torch.polar(magnitude, phase)
    return synthesise(spectra, head.window.float(), head.hop_length)
