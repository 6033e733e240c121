"""Xcodec2Vocoder: clean tokens -> clean speech.

The decoding half of Xcodec2 (Ye et al., arXiv:2502.04128): FSQ codes, a
Vocos-like backbone and an inverse STFT head, built from plain numbers;
xcodec2.py builds and runs the layers.
"""

import torch

from speechbrain_llase.lobes.xcodec2 import (
    MAX_MAGNITUDE,
    build_decoder,
    run_backbone,
    run_decoder,
)
from speechbrain_llase.nnet.fsq import (
    NUM_DIGITS,
    VOCAB_SIZE,
    levels_to_codes,
    tokens_to_levels,
)
from speechbrain_llase.nnet.layers import project
from speechbrain_llase.nnet.packing import Runs, pack, unpack
from speechbrain_llase.nnet.precision import hold_weights, weights_to_come

PHASES = ("predicted", "pitch")


class Xcodec2Vocoder(torch.nn.Module):
    """Decode Xcodec2 tokens to 16 kHz speech, 320 samples per token.

    Arguments
    ---------
    hidden_size : int
        Width of the backbone, a multiple of 32 (1024 in the released codec).
    num_layers : int
        Transformer layers (12).
    num_heads : int
        Attention heads; must divide hidden_size (16).
    quantization_dim : int
        Width of the projected FSQ code (2048); above hidden_size, because the
        codec joins an acoustic and a semantic half.
    ffn_size : int
        Width of the feed-forward layers (4096).
    phases : str
        `predicted`: those of the head, as released. `pitch`: those of pulses
        at the pitch of the predicted magnitudes, for a decoder that was
        trained on magnitudes alone; see processing/phase.py.
    floor : float
        Magnitudes below it fade, by up to 14 dB: a bin keeps at least a fifth
        of its magnitude m, and m**4 / (m**4 + floor**4) of it where that is
        more. 0 leaves all as they are. A decoder learns the room noise of its
        training speech along with the speech.
    compute : str
        What weights are held in: float32, bfloat16, int8 or auto; see
        nnet/precision.py.

    Example
    -------
    >>> vocoder = Xcodec2Vocoder(32, 1, 2, 48, 64)
    >>> vocoder(torch.tensor([[0, 65535, 7]])).shape
    torch.Size([1, 960])
    """

    hop_length = 320  # samples per token

    def __init__(
        self,
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        quantization_dim: int,
        ffn_size: int,
        phases: str = "predicted",
        floor: float = 0.0,
        compute: str = "float32",
    ):
        super().__init__()
        if phases not in PHASES:
            raise ValueError(
                f"phases={phases!r} is not known; choose one of "
                f"{', '.join(PHASES)}."
            )
        if not 0 <= floor < MAX_MAGNITUDE:
            raise ValueError(
                f"floor={floor} must be from 0 (none) to below "
                f"{MAX_MAGNITUDE:g}, the largest magnitude."
            )
        if quantization_dim <= hidden_size:
            raise ValueError(
                f"quantization_dim={quantization_dim} must be above "
                f"hidden_size={hidden_size}: it holds the acoustic half, as "
                "wide as the backbone, and the semantic half."
            )
        with weights_to_come():
            self.project_out = torch.nn.Linear(NUM_DIGITS, quantization_dim)
            self.decoder = build_decoder(
                quantization_dim, hidden_size, num_layers, num_heads, ffn_size
            )
        self.phases, self.floor = phases, floor
        self.compute = hold_weights(self, compute, ("decoder.head.linear",))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Decode tokens (B, N) to float32 (B, 320 N) at the codec's own level.

        Tokens are int64 in [0, 65536), else a ValueError; or FSQ codes, float
        (B, N, 8), as for `decode_codes`.
        """
        if tokens.is_floating_point():
            return self.decode_codes(tokens)
        return self.decode_codes(tokens_to_codes(tokens))

    def decode_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """Decode FSQ codes, which may lie between the levels.

        Codes are float (B, N, 8) in [-1, 0.5], waves float32 (B, 320 N).
        """
        if codes.shape[1] == 0:
            return codes.new_zeros(codes.shape[0], 0)
        wav = self.decode_rows(codes.flatten(0, 1), [tuple(codes.shape[:2])])
        return wav.unflatten(0, (codes.shape[0], -1))

    def decode_each(self, tokens: list[torch.Tensor]) -> list[torch.Tensor]:
        """Decode items of any lengths, without padding.

        Items are tokens, int64 (N,) in [0, 65536), or codes, float (N, 8), N
        at least 1; waves are float32 (320 N,) each.
        """
        rows, runs = pack(tokens)
        codes = rows if rows.is_floating_point() else tokens_to_codes(rows)
        wav = self.decode_rows(codes, runs)
        return unpack(wav, [(b, n * self.hop_length) for b, n in runs])

    def decode_rows(self, codes: torch.Tensor, runs: Runs) -> torch.Tensor:
        """Decode packed codes (total, 8) to float32 (320 * total,)."""
        rows = project(self.project_out, codes)
        return run_decoder(self.decoder, rows, runs, self.phases, self.floor)

    def log_magnitudes(
        self, codes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict spectra of codes (B, N, 8) in [-1, 0.5], to train on them.

        Gives natural logarithms, float32 (B, N, 641), of the Hann-windowed
        STFT of 1280 samples whose frame n is centred on sample 320 (n + 0.5),
        and what the head is given, (B, N, hidden_size).
        """
        rows = project(self.project_out, codes.flatten(0, 1))
        hidden = run_backbone(self.decoder, rows, [tuple(codes.shape[:2])])
        spectra = project(self.decoder.head.linear, hidden).float()
        shape = codes.shape[:2]
        magnitudes = spectra.chunk(2, dim=-1)[0].unflatten(0, shape)
        return magnitudes, hidden.unflatten(0, shape)


def tokens_to_codes(tokens: torch.Tensor) -> torch.Tensor:
    """Look up the codes of tokens (...), float32 (..., 8), after a check."""
    if tokens.numel() and not 0 <= tokens.min() <= tokens.max() < VOCAB_SIZE:
        raise ValueError(
            f"Tokens span [{tokens.min()}, {tokens.max()}], allowed is "
            f"[0, {VOCAB_SIZE}): pass the tokens of TokenLM.predict, "
            "without padding."
        )
    return levels_to_codes(tokens_to_levels(tokens))
