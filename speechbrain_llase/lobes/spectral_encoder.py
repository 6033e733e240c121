"""SpectralStem: the first layers of a small model, over spectra.

Waveforms -> mel bands, low bins and autocorrelation -> ConvNeXt blocks (Liu
et al., arXiv:2201.03545). The encoder of llase_mini's codec and its frontend
both begin like this: from an hour of speech, convolutions over the waveform
do not learn to hear what the encoder hears.
"""

import torch
import torchaudio

from speechbrain_llase.nnet.layers import convolve, layer_norm, project
from speechbrain_llase.processing.framing import num_rows
from speechbrain_llase.processing.phase import PERIODS
from speechbrain_llase.processing.signal_processing import (
    centred_frames,
    fit_length,
)

MEL_HOP = 160  # samples; two mel frames for each token
WINDOW_LENGTH = 512  # samples
MEL_FLOOR = 1e-5  # smallest mel magnitude
SPECTRUM_LENGTH = 1280  # samples; the window of the decoder's spectra
LOW_BINS = 96  # of that spectrum, to 1.2 kHz
LAG_WINDOW = 1024  # samples; the window of the autocorrelation


class SpectralStem(torch.nn.Module):
    """Features of spectra, with eyes for pitch.

    Mel bands of a short window blur a low voice's harmonics, and tokens of
    such frames ended up without pitch. Beside them stand the lowest bins of a
    long window and the autocorrelation. `num_mels` bands, and `num_blocks`
    ConvNeXt blocks of `width` channels.

    Example
    -------
    >>> SpectralStem(20, 32, 1)(torch.rand(2, 16000)).shape
    torch.Size([2, 50, 32])
    """

    def __init__(self, num_mels: int, width: int, num_blocks: int):
        super().__init__()
        bands = torchaudio.functional.melscale_fbanks(
            WINDOW_LENGTH // 2 + 1, 0.0, 8000.0, num_mels, 16000
        )
        self.register_buffer("bands", bands, persistent=False)
        self.embed = torch.nn.Conv1d(2 * num_mels, width, 3, padding=1)
        lags = (PERIODS[1] - PERIODS[0] + 1) // 2
        self.fine = torch.nn.Conv1d(LOW_BINS + lags, width, 3, padding=1)
        blocks = [ConvNeXtBlock(width) for _ in range(num_blocks)]
        self.blocks = torch.nn.Sequential(*blocks)
        self.norm = torch.nn.LayerNorm(width)

    def forward(self, wavs: torch.Tensor) -> torch.Tensor:
        """Turn (B, T) at 16 kHz, T at least 400, into float32 (B, N, width).

        N is as many as the rows of a frontend, and 20 ms each.
        """
        wavs = fit_length(wavs, 2 * MEL_HOP * num_rows(wavs.shape[-1]))
        with torch.autocast(wavs.device.type, enabled=False):
            mel, fine = self.log_mel(wavs.float()), pitch_features(wavs.float())
        hidden = convolve(self.embed, mel, 1) + convolve(self.fine, fine, 1)
        return layer_norm(self.norm, self.blocks(hidden.float()))

    def log_mel(self, wavs: torch.Tensor) -> torch.Tensor:
        """Log-mel magnitudes of (B, 320 N), two frames in a row: (B, N, 2 M)."""
        window = torch.hann_window(
            WINDOW_LENGTH, device=wavs.device, dtype=torch.float32
        )
        frames = centred_frames(wavs, WINDOW_LENGTH, MEL_HOP)
        mel = torch.fft.rfft(frames * window).abs() @ self.bands
        mel = mel.clamp(min=MEL_FLOOR).log()  # (B, 2 N, mels)
        # the two frames of a row side by side, band by band
        return mel.unflatten(1, (-1, 2)).transpose(2, 3).flatten(2)


class ConvNeXtBlock(torch.nn.Module):
    """Depthwise convolution and feed-forward layer with a residual."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise = torch.nn.Conv1d(
            width, width, 7, padding=3, groups=width
        )
        self.norm = torch.nn.LayerNorm(width)
        self.expand = torch.nn.Linear(width, 3 * width)
        self.reduce = torch.nn.Linear(3 * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map float32 (B, N, width) to the same."""
        update = layer_norm(self.norm, convolve(self.depthwise, hidden, 3))
        update = torch.nn.functional.gelu(project(self.expand, update))
        return hidden + project(self.reduce, update).float()


def pitch_features(wavs: torch.Tensor) -> torch.Tensor:
    """What tells pitch in (B, 320 N): low bins and lags, (B, N, 210)."""
    low = magnitudes(wavs)[..., :LOW_BINS].add(0.01).log()
    lags = torch.nn.functional.avg_pool1d(autocorrelation(wavs), 2)
    return torch.cat([low, 3 * lags], -1)


def magnitudes(wavs: torch.Tensor) -> torch.Tensor:
    """Magnitudes (B, N, 641) of (B, 320 N), as the decoder's head has them."""
    window = torch.hann_window(
        SPECTRUM_LENGTH, device=wavs.device, dtype=torch.float32
    )
    frames = centred_frames(wavs, SPECTRUM_LENGTH, 2 * MEL_HOP)
    return torch.fft.rfft(frames * window).abs()


def autocorrelation(wavs: torch.Tensor) -> torch.Tensor:
    """Autocorrelation of windows of 64 ms of (B, 320 N) at 16 kHz, normalised.

    (B, N, 228), at lags from 40 to 267 samples: pitch of 400 to 60 Hz. Near 1
    at the period of a vowel.
    """
    window = torch.hann_window(
        LAG_WINDOW, device=wavs.device, dtype=torch.float32
    )
    frames = centred_frames(wavs, LAG_WINDOW, 2 * MEL_HOP)
    frames = (frames - frames.mean(-1, keepdim=True)) * window

    def correlate(x):
        power = torch.fft.rfft(x, 2 * LAG_WINDOW).abs().square()
        return torch.fft.irfft(power)[..., : PERIODS[1] + 1]

    taper = correlate(window)  # what the window takes from longer lags
    lags = correlate(frames) * (taper[0] / taper)
    return lags[..., PERIODS[0] :] / (lags[..., :1] + 1e-4)
