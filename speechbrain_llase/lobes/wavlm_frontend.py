"""WavLMFrontend: speech -> WavLM features of layer k, 50 a second.

WavLM (Chen et al., arXiv:2110.13900) is cut after the layer that is used, and
built from plain numbers; wavlm.py runs it. The released LLaSE feeds it the
waveform as it is, although WavLM-Large was trained on normalised ones, and
appends one row of zeros to every extraction; both are kept here, the latter
in one place. LLaSE-G1 appends none.
"""

from collections.abc import Sequence
from itertools import groupby

import torch

from speechbrain_llase.lobes.wavlm import build_encoder, run_wavlm
from speechbrain_llase.nnet.layers import LayerTree
from speechbrain_llase.nnet.packing import pack, unpack
from speechbrain_llase.nnet.precision import hold_weights, weights_to_come
from speechbrain_llase.processing.framing import MIN_SAMPLES, num_rows

KERNELS = (10, 3, 3, 3, 3, 2, 2)  # of the convolutions over the waveform
STRIDES = (5, 2, 2, 2, 2, 2, 2)


class Frontend(torch.nn.Module):
    """What all frontends share: batches, lengths, rows.

    A subclass says how a run of equally long waveforms becomes rows.
    """

    zero_row = True  # whether a row of zeros ends every extraction

    def forward(
        self, wavs: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Extract features (B, N, D) of waves (B, T) at 16 kHz, in [-1, 1].

        Relative lengths (B,) in (0, 1] are optional; rows past an item's own
        are zero. N is `num_rows(T, zero_row)`. A ValueError, if an item is
        under 400 samples.
        """
        samples = item_samples(wavs, lengths)
        items = [wav[:n] for wav, n in zip(wavs, samples, strict=True)]
        least = num_rows(wavs.shape[1], self.zero_row)
        return torch.nn.utils.rnn.pad_sequence(
            self.extract_each(items, least), batch_first=True
        )

    def extract_each(
        self, wavs: list[torch.Tensor], least: int = 0
    ) -> list[torch.Tensor]:
        """Extract the features of waveforms of any lengths, float (T,) each.

        Neighbours of equal length are the faster the more they are. Gives
        float32 (N, D) each, N = `num_rows(T, zero_row)`, or `least` with zeros
        behind. A ValueError, if one is under 400 samples.
        """
        shortest = min(len(wav) for wav in wavs)
        if shortest < MIN_SAMPLES:
            raise ValueError(
                f"The shortest item has {shortest} samples; a frontend needs "
                f"at least {MIN_SAMPLES} (25 ms at 16 kHz)."
            )
        runs = [torch.stack(list(run)) for _, run in groupby(wavs, len)]
        return [
            torch.nn.functional.pad(f, (0, 0, 0, max(0, least - len(f))))
            for f in unpack(*self.extract_runs(runs))
        ]

    def extract_runs(self, runs: list[torch.Tensor]) -> tuple:
        """Turn (B, T) each into rows (total, N) and their runs."""
        raise NotImplementedError


class WavLMFrontend(Frontend):
    """The first layers of WavLM, without the final norm.

    Arguments
    ---------
    conv_dim : list of int
        Channels of the seven convolutions (512 each in WavLM-Large).
    hidden_size : int
        Width of the transformer (1024).
    num_layers : int
        Layers that are built and run (6 of 24).
    num_heads : int
        Attention heads (16).
    ffn_size : int
        Width of the feed-forward layers (4096).
    num_buckets : int
        Buckets of the relative position bias (320).
    max_distance : int
        Distance, in rows, of the last bucket (800).
    normalize_wav : bool
        Bring each waveform to zero mean and unit variance first (False: the
        released model does not).
    dropout : float
        Dropout of the transformer in training (0.0).
    compute : str
        What weights are held in: float32, bfloat16, int8 or auto; see
        nnet/precision.py.
    zero_row : bool
        Append a row of zeros to every extraction (True: LLaSE does, LLaSE-G1
        does not).

    Example
    -------
    >>> frontend = WavLMFrontend([8] * 7, 32, 1, 2, 64, 320, 800)
    >>> frontend(torch.rand(2, 16000)).shape
    torch.Size([2, 50, 32])
    """

    def __init__(
        self,
        conv_dim: list[int],
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        ffn_size: int,
        num_buckets: int,
        max_distance: int,
        normalize_wav: bool = False,
        dropout: float = 0.0,
        compute: str = "float32",
        zero_row: bool = True,
    ):
        super().__init__()
        self.normalize_wav, self.zero_row = normalize_wav, zero_row
        sizes = num_layers, num_heads, ffn_size, num_buckets, max_distance
        with weights_to_come():
            self.wavlm = build_wavlm(conv_dim, hidden_size, *sizes, dropout)
        self.compute = hold_weights(self, compute)

    def extract_runs(self, runs: list[torch.Tensor]) -> tuple:
        """Run WavLM, and append the zero row to every item."""
        if self.normalize_wav:
            runs = [normalize(wavs) for wavs in runs]
        rows = run_wavlm(self.wavlm, runs)
        if not self.zero_row:
            return rows
        feats = unpack(*rows)
        return pack([torch.nn.functional.pad(f, (0, 0, 0, 1)) for f in feats])


def build_wavlm(conv_dim: Sequence[int], size: int, *others) -> LayerTree:
    """Build WavLM's convolutions and transformer.

    `others` are those of `build_encoder`.
    """
    convs = [
        LayerTree(
            conv=torch.nn.Conv1d(entering, width, *shape, bias=False),
            layer_norm=torch.nn.LayerNorm(width),
        )
        for entering, width, *shape in zip(
            [1, *conv_dim], conv_dim, KERNELS, STRIDES
        )
    ]
    return LayerTree(
        feature_extractor=LayerTree(conv_layers=torch.nn.ModuleList(convs)),
        feature_projection=LayerTree(
            layer_norm=torch.nn.LayerNorm(conv_dim[-1]),
            projection=torch.nn.Linear(conv_dim[-1], size),
        ),
        encoder=build_encoder(size, *others),
    )


def item_samples(wavs: torch.Tensor, lengths: torch.Tensor | None) -> list[int]:
    """Turn relative lengths into samples, rounded as SpeechBrain does."""
    if lengths is None:
        return [wavs.shape[1]] * wavs.shape[0]
    return [round(float(x) * wavs.shape[1]) for x in lengths]


def normalize(wavs: torch.Tensor) -> torch.Tensor:
    """Bring each of (B, T) to mean 0 and variance 1."""
    deviation = torch.sqrt(wavs.var(1, correction=0, keepdim=True) + 1e-7)
    return (wavs - wavs.mean(1, keepdim=True)) / deviation
