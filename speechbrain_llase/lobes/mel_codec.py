"""MelCodec: the encoder that made the small model's targets, and its decoder.

Clean speech -> Xcodec2-like tokens -> speech. The quantiser and the decoder
have Xcodec2's structure; the encoder is our own and small: a spectral stem
and a projection to the eight digits. Needed for training and for measuring
the codec's ceiling only.
"""

import torch
from speechbrain.inference.interfaces import Pretrained

from speechbrain_llase.lobes.spectral_encoder import SpectralStem
from speechbrain_llase.nnet.fsq import (
    NUM_DIGITS,
    codes_to_levels,
    levels_to_tokens,
    quantise,
)
from speechbrain_llase.processing.signal_processing import (
    fit_length,
    match_gain,
    to_active_level,
)

# A normal distribution with this mean and deviation uses the four levels of
# `quantise` equally: its quartiles are the bounds -1.15, -0.35 and 0.46. A
# plain projection left one digit of eight on one level for good.
LATENT_MEAN, LATENT_STD = -0.347, 1.19


class PitchEncoder(torch.nn.Module):
    """Encode speech to the eight latent values of every token.

    Arguments
    ---------
    num_mels, width, num_blocks : int
        See `SpectralStem`.

    Example
    -------
    >>> PitchEncoder(20, 32, 1)(torch.rand(2, 16000)).shape
    torch.Size([2, 50, 8])
    """

    def __init__(self, num_mels: int, width: int, num_blocks: int):
        super().__init__()
        self.stem = SpectralStem(num_mels, width, num_blocks)
        self.project = torch.nn.Linear(width, NUM_DIGITS)
        self.spread = torch.nn.BatchNorm1d(NUM_DIGITS, affine=False)

    def forward(self, wavs: torch.Tensor) -> torch.Tensor:
        """Encode float (B, T) at 16 kHz, T at least 400.

        The latents (B, N, 8) are unbounded, N as many as the frontend's rows.
        """
        latents = self.project(self.stem(wavs))
        latents = self.spread(latents.transpose(1, 2)).transpose(1, 2)
        return LATENT_STD * latents + LATENT_MEAN


class MelCodec(Pretrained):
    """Clean speech -> tokens -> clean speech, from a model folder.

    See `Pretrained`. Needs the modules `encoder` and `vocoder` and the
    hyperparameter `codec_level_db`, the active level it was trained at.

    Example
    -------
    >>> codec = MelCodec.from_hparams(
    ...     "hparams/llase_mini", hparams_file="codec.yaml"
    ... )  # doctest: +SKIP
    """

    HPARAMS_NEEDED = ["codec_level_db"]
    MODULES_NEEDED = ["encoder", "vocoder"]

    @torch.no_grad()
    def encode(self, wavs: torch.Tensor) -> torch.Tensor:
        """Turn speech (B, T) at codec_level_db into tokens (B, N), int64."""
        codes = quantise(self.mods.encoder(wavs.to(self.device)))
        return levels_to_tokens(codes_to_levels(codes))

    @torch.no_grad()
    def resynthesise(self, wavs: torch.Tensor) -> torch.Tensor:
        """Encode and decode speech: the best that the tokens can carry.

        Takes float (B, T) at 16 kHz at any level; gives as many samples at
        that level.
        """
        wavs = wavs.to(self.device)
        tokens = self.encode(to_active_level(wavs, self.hparams.codec_level_db))
        decoded = fit_length(self.mods.vocoder(tokens), wavs.shape[1])
        gains = [match_gain(d, w) for d, w in zip(decoded, wavs, strict=True)]
        return decoded * decoded.new_tensor(gains)[:, None]


def load_codec(source: str) -> MelCodec:
    """Load the codec that lies beside a model, from its codec.yaml."""
    return MelCodec.from_hparams(source, hparams_file="codec.yaml")
