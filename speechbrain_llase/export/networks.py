"""A model's networks as ONNX files, for one window of any length.

The networks run as in `Stages`. What depends on nothing but a window's length
(positions, distances, noise) is laid out once, for the longest.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch

from speechbrain_llase.export.real_spectra import (
    RealSpectra,
    add_frames,
    low_magnitudes,
)
from speechbrain_llase.inference.stages import Stages
from speechbrain_llase.lobes import spectral_encoder, token_lm, wavlm
from speechbrain_llase.nnet.fsq import (
    levels_to_codes,
    mean_codes,
    tokens_to_levels,
)
from speechbrain_llase.processing import hearing, signal_processing
from speechbrain_llase.processing.framing import (
    HOP_LENGTH,
    SAMPLE_RATE,
)
from speechbrain_llase.processing.hearing import (
    FRAME_LENGTH,
    LOUD,
    SPEECH_RANGE,
)

eager_lstm = torch.nn.LSTM.forward


class WindowStage(torch.nn.Module):
    """What a network does to one window, its only input, in real arithmetic.

    Arguments
    ---------
    stages : Stages
        Those of a model.
    name : str
        Of the network.
    """

    def __init__(self, stages: Stages, name: str):
        super().__init__()
        self.network, self.settings = stages.mods[name], stages
        self.spectra = RealSpectra(longest_rows(stages) * HOP_LENGTH)

    axis = 0  # of the input, which may have any length

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network."""
        with self.spectra:
            return self.run(x)


class FrontendStage(WindowStage):
    """Wave (T,) -> features (N, D)."""

    def run(self, wav):
        """Hear and extract."""
        wavs = wav[None]
        if self.settings.hears_speech:
            wavs, _ = hearing.hear(wavs)
        rows, _ = self.network.extract_runs([wavs])
        return rows


class TokenLMStage(WindowStage):
    """Features (N, D) -> what is decoded of the tokens, (N, 8)."""

    def run(self, feats):
        """Predict."""
        hidden = self.network.hidden(feats, [(1, feats.shape[0])])
        if self.settings.decodes_mean:
            return mean_codes(self.network.logits(hidden))
        return levels_to_codes(tokens_to_levels(self.network.pick(hidden)))


class VocoderStage(WindowStage):
    """Codes (N, 8) -> wave (320 N,)."""

    def run(self, codes):
        """Decode."""
        return self.network.decode_rows(codes, [(1, codes.shape[0])])


class RefinerStage(WindowStage):
    """Decoded and noisy wave, (2, T) -> wave (T,)."""

    axis = 1

    def run(self, both):
        """Refine."""
        decoded, noisy = both.split(1)
        heard, gain = hearing.hear(noisy)
        how = self.settings.generative
        magnitude, phase = self.network.turn(decoded, heard, how)
        wavs = self.network.synthesise(magnitude, phase, both.shape[1])
        return (wavs / gain)[0]


STAGES = {
    "frontend": FrontendStage,
    "token_lm": TokenLMStage,
    "vocoder": VocoderStage,
    "refiner": RefinerStage,
}


def level_at_any_length(wavs: torch.Tensor) -> torch.Tensor:
    """Do what `speech_level` does to (1, T), in operations that take any length."""
    count = wavs.shape[1] // FRAME_LENGTH
    frames = wavs[:, : count * FRAME_LENGTH]
    power = frames.unflatten(1, (count, FRAME_LENGTH)).square().mean(-1)
    rank = round(100 * LOUD) * count // 100
    loud = power.sort(-1).values[:, rank : rank + 1]
    power = power.minimum(loud)
    active = power >= SPEECH_RANGE * loud
    return ((power * active).sum(-1) / active.sum(-1)).sqrt()


def longest_rows(stages: Stages) -> int:
    """Rows of the longest window."""
    return stages.window + 2 * stages.context + 1


def run_lstm(lstm: torch.nn.LSTM, x: torch.Tensor) -> tuple[torch.Tensor, None]:
    """Run a layer in both directions, (T, B, C), as one operation of ONNX."""
    if not torch.compiler.is_exporting():
        return eager_lstm(lstm, x)
    y = torch.onnx.ops.symbolic(
        "LSTM",
        (x, *onnx_weights(lstm)),
        {"hidden_size": lstm.hidden_size, "direction": "bidirectional"},
        dtype=x.dtype,
        shape=(x.shape[0], 2, x.shape[1], lstm.hidden_size),
    )
    return y.transpose(1, 2).flatten(2), None


def onnx_weights(lstm: torch.nn.LSTM) -> list[torch.Tensor]:
    """Weights of both directions, gates in the order that ONNX has."""

    def both(name: str) -> torch.Tensor:
        parts = (getattr(lstm, name + end) for end in ("_l0", "_l0_reverse"))
        gates = [part.chunk(4) for part in parts]
        return torch.stack([torch.cat((i, o, f, c)) for i, f, c, o in gates])

    biases = torch.cat([both("bias_ih"), both("bias_hh")], 1)
    return [both("weight_ih"), both("weight_hh"), biases]


@contextmanager
def laid_out(stages: Stages) -> Iterator[None]:
    """Let networks look up what they would compute from a window's length."""
    rows = longest_rows(stages)
    size = stages.token_lm.audio_linear.out_features
    positions = token_lm.sinusoid(rows, size)
    instead = [
        (hearing, "speech_level", level_at_any_length),
        (signal_processing, "overlap_add", add_frames),
        (spectral_encoder, "magnitudes", low_magnitudes),
        (token_lm, "sinusoid_on", lambda device, n, width: positions[:n]),
        (wavlm, "convolve_wav", wavlm.convolve_chunk),
        (wavlm, "distance_bias", DistanceTable(stages.mods["frontend"], rows)),
        (torch.nn.LSTM, "forward", run_lstm),
    ]
    with ExitStack() as stack:
        for module, name, other in instead:
            stack.enter_context(patch.object(module, name, other))
        yield


class DistanceTable:
    """`distance_bias` of a frontend's first layer, out of a table."""

    def __init__(self, frontend: torch.nn.Module, rows: int):
        encoder = getattr(frontend, "wavlm", frontend).encoder
        bias = wavlm.distance_bias(encoder.layers[0].attention, rows)
        ahead, behind = bias[:, 0], bias[:, :, 0]  # (H, rows) each
        self.line = torch.cat([behind.flip(1), ahead[:, 1:]], 1).detach()
        self.rows = rows

    def __call__(self, _: torch.nn.Module, rows: int, *_dtype) -> torch.Tensor:
        """Lay the biases out as (H, N, N)."""
        near = self.line[:, self.rows - rows : self.rows + rows - 1]
        place = torch.arange(rows)
        places = rows - 1 + place - place[:, None]  # key less query
        return near.index_select(1, places.flatten()).unflatten(1, (rows, rows))


def examples(stages: Stages) -> Iterator[tuple[str, WindowStage, torch.Tensor]]:
    """Give each network's name, what runs it, and an example of its input."""
    noise = torch.Generator().manual_seed(0)
    x = wav = 0.1 * torch.randn(SAMPLE_RATE + 77, generator=noise)
    for name, kind in STAGES.items():
        if name not in stages.mods or (
            name == "refiner" and not stages.refines
        ):
            continue
        stage = kind(stages, name).eval()
        if name == "refiner":
            x = torch.stack([x, signal_processing.fit_length(wav, len(x))])
        yield name, stage, x
        x = stage(x)
