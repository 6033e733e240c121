"""MelCodec: the encoder that made the small model's targets, and its decoder.

Clean speech -> Xcodec2-like tokens -> speech. The quantiser and the decoder
have Xcodec2's structure; the encoder is our own and small: log-mel frames,
ConvNeXt blocks (Liu et al., arXiv:2201.03545) and a projection to the eight
digits; beside the mel frames it can see what carries pitch. Needed for
training and for measuring the codec's ceiling only.

Authors
 * The speechbrain_llase contributors 2026
"""

import torch
import torchaudio
from speechbrain.inference.interfaces import Pretrained

from speechbrain_llase.frontend import num_rows
from speechbrain_llase.fsq import (
    NUM_DIGITS,
    codes_to_levels,
    levels_to_tokens,
    quantise,
)
from speechbrain_llase.phases import PERIODS
from speechbrain_llase.signal import (
    centred_frames,
    fit_length,
    match_gain,
    to_active_level,
)

HOP_LENGTH = 160  # samples; two mel frames a token
WINDOW_LENGTH = 512  # samples
FLOOR = 1e-5  # smallest mel magnitude
SPECTRUM_LENGTH = 1280  # samples; the window of the decoder's spectra
LOW_BINS = 96  # of that spectrum, to 1.2 kHz
LAG_WINDOW = 1024  # samples; the window of the autocorrelation
# A normal distribution with this mean and deviation uses the four levels of
# `quantise` equally: its quartiles are the bounds -1.15, -0.35 and 0.46. A
# plain projection left one digit of eight on one level for good.
LATENT_MEAN, LATENT_STD = -0.347, 1.19


class MelEncoder(torch.nn.Module):
    """Encode speech to the eight latent values of every token.

    Arguments
    ---------
    num_mels : int
        Mel bands of the input.
    width : int
        Channels of the blocks.
    num_blocks : int
        ConvNeXt blocks.

    Example
    -------
    >>> MelEncoder(20, 32, 1)(torch.rand(2, 16000)).shape
    torch.Size([2, 50, 8])
    """

    def __init__(self, num_mels: int, width: int, num_blocks: int):
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(
            16000,
            n_fft=WINDOW_LENGTH,
            hop_length=HOP_LENGTH,
            n_mels=num_mels,
            power=1,
            center=False,
        )
        self.embed = torch.nn.Conv1d(2 * num_mels, width, 3, padding=1)
        blocks = [ConvNeXtBlock(width) for _ in range(num_blocks)]
        self.blocks = torch.nn.Sequential(*blocks)
        self.norm = torch.nn.LayerNorm(width)
        self.project = torch.nn.Linear(width, NUM_DIGITS)
        self.spread = torch.nn.BatchNorm1d(NUM_DIGITS, affine=False)

    def forward(self, wavs: torch.Tensor) -> torch.Tensor:
        """Encode waveforms.

        Arguments
        ---------
        wavs : torch.Tensor
            float (B, T) at 16 kHz, T at least 400.

        Returns
        -------
        latents : torch.Tensor
            (B, N, 8), unbounded, N as many as the frontend's rows.
        """
        count = num_rows(wavs.shape[-1])
        wavs = fit_length(wavs, 2 * HOP_LENGTH * count)
        hidden = self.blocks(self.enter(wavs))  # (B, width, N)
        latents = self.project(self.norm(hidden.transpose(1, 2)))
        latents = self.spread(latents.transpose(1, 2)).transpose(1, 2)
        return LATENT_STD * latents + LATENT_MEAN

    def enter(self, wavs: torch.Tensor) -> torch.Tensor:
        """Embed (B, 320 N) as (B, width, N)."""
        side = (WINDOW_LENGTH - HOP_LENGTH) // 2
        mel = self.mel(torch.nn.functional.pad(wavs, (side, side)))
        mel = mel.clamp(min=FLOOR).log()  # (B, mels, 2 N)
        mel = mel.unflatten(-1, (-1, 2)).transpose(2, 3).flatten(1, 2)
        return self.embed(mel)


class PitchEncoder(MelEncoder):
    """The encoder, with eyes for pitch.

    Mel bands of a short window blur a low voice's harmonics, and tokens of
    such frames came to say nothing of pitch. Beside them, this encoder sees
    the lowest bins of a long window and the autocorrelation.

    Arguments
    ---------
    num_mels, width, num_blocks : int
        See `MelEncoder`.

    Example
    -------
    >>> PitchEncoder(20, 32, 1)(torch.rand(2, 16000)).shape
    torch.Size([2, 50, 8])
    """

    def __init__(self, num_mels: int, width: int, num_blocks: int):
        super().__init__(num_mels, width, num_blocks)
        lags = (PERIODS[1] - PERIODS[0] + 1) // 2
        self.fine = torch.nn.Conv1d(LOW_BINS + lags, width, 3, padding=1)

    def enter(self, wavs: torch.Tensor) -> torch.Tensor:
        """Embed (B, 320 N) as (B, width, N)."""
        with torch.autocast(wavs.device.type, enabled=False):
            low = magnitudes(wavs)[..., :LOW_BINS].add(0.01).log()
            lags = autocorrelation(wavs)
            lags = torch.nn.functional.avg_pool1d(lags, 2)
            fine = torch.cat([low, 3 * lags], -1).transpose(1, 2)
        return super().enter(wavs) + self.fine(fine)


def magnitudes(wavs: torch.Tensor) -> torch.Tensor:
    """Magnitudes (B, N, 641) of (B, 320 N), as the decoder's head has them."""
    window = torch.hann_window(SPECTRUM_LENGTH, device=wavs.device)
    frames = centred_frames(wavs, SPECTRUM_LENGTH, 2 * HOP_LENGTH)
    return torch.fft.rfft(frames * window).abs()


def autocorrelation(wavs: torch.Tensor) -> torch.Tensor:
    """Autocorrelation of windows of 64 ms, normalised.

    Arguments
    ---------
    wavs : torch.Tensor
        float32 (B, 320 N) at 16 kHz.

    Returns
    -------
    lags : torch.Tensor
        (B, N, 228), at lags from 40 to 267 samples: pitch of 400 to 60 Hz.
        Near 1 at the period of a vowel.
    """
    window = torch.hann_window(LAG_WINDOW, device=wavs.device)
    frames = centred_frames(wavs, LAG_WINDOW, 2 * HOP_LENGTH)
    frames = (frames - frames.mean(-1, keepdim=True)) * window

    def correlate(x):
        power = torch.fft.rfft(x, 2 * LAG_WINDOW).abs().square()
        return torch.fft.irfft(power)[..., : PERIODS[1] + 1]

    taper = correlate(window)  # what the window takes from longer lags
    lags = correlate(frames) * (taper[0] / taper)
    return lags[..., PERIODS[0] :] / (lags[..., :1] + 1e-4)


class ConvNeXtBlock(torch.nn.Module):
    """Depthwise convolution and feed-forward layer with a residual.

    Arguments
    ---------
    width : int
        Channels in and out.
    """

    def __init__(self, width: int):
        super().__init__()
        self.depthwise = torch.nn.Conv1d(
            width, width, 7, padding=3, groups=width
        )
        self.norm = torch.nn.LayerNorm(width)
        self.expand = torch.nn.Linear(width, 3 * width)
        self.reduce = torch.nn.Linear(3 * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (B, width, N) to the same shape."""
        update = self.norm(self.depthwise(hidden).transpose(1, 2))
        update = self.reduce(torch.nn.functional.gelu(self.expand(update)))
        return hidden + update.transpose(1, 2)


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

        Arguments
        ---------
        wavs : torch.Tensor
            float (B, T) at 16 kHz, any level.

        Returns
        -------
        wavs : torch.Tensor
            float (B, T) at the level of the input.
        """
        wavs = wavs.to(self.device)
        tokens = self.encode(to_active_level(wavs, self.hparams.codec_level_db))
        decoded = fit_length(self.mods.vocoder(tokens), wavs.shape[1])
        gains = [match_gain(d, w) for d, w in zip(decoded, wavs, strict=True)]
        return decoded * torch.tensor(gains, device=wavs.device)[:, None]


def load_codec(source: str) -> MelCodec:
    """Load the codec that lies beside a model, from its codec.yaml."""
    return MelCodec.from_hparams(source, hparams_file="codec.yaml")
