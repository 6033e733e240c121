"""How llase_mini hears: without rumble, and speech at one level.

What lies under 60 Hz (wind, handling, an offset) says nothing of speech, and
would set the level of quiet recordings. The level is that of the frames that
are as loud as speech: a click changes it as little as a pause does. Both look
at one window of audio alone, so files, windows and streams hear alike.
"""

from functools import cache

import torch
from torch.nn.functional import pad

TAPS = 1601  # of the filter; it sees 50 ms on either side at 16 kHz
CORNER = 60 / 8000  # of half the rate
BLOCK = 2400  # samples that are filtered at once, overlapping by the filter
FRAME_LENGTH = 320  # samples; 20 ms at 16 kHz
LOUD = 0.97  # quantile of the frames' powers; above it may be clicks
SPEECH_RANGE = 1e-2  # frames within 20 dB of that count as speech
LEVEL = 10 ** (-18 / 20)  # of speech, RMS; its peaks are near full scale
LEAST_LEVEL = 10 ** (-75 / 20)  # no level is taken to be lower


def hear(wavs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give waves as the model hears them, and the gain that brought them there.

    Arguments
    ---------
    wavs : torch.Tensor
        float (..., T), 16 kHz, T at least 320, at any level.

    Returns
    -------
    wavs : torch.Tensor
        Same shape: without what lies under 60 Hz, speech at -18 dBFS.
    gain : torch.Tensor
        (..., 1), what they were multiplied with.

    Example
    -------
    >>> wavs, gain = hear(0.01 * torch.randn(2, 16000) + 0.5)
    >>> wavs.shape, gain.shape
    (torch.Size([2, 16000]), torch.Size([2, 1]))
    >>> bool(wavs.square().mean().sqrt() - LEVEL < 1e-3)
    True
    """
    wavs = remove_rumble(wavs)
    gain = LEVEL / speech_level(wavs).clamp(min=LEAST_LEVEL).unsqueeze(-1)
    return wavs * gain, gain


def remove_rumble(wavs: torch.Tensor) -> torch.Tensor:
    """Take out of (..., T) what lies under 60 Hz, and move no phase.

    A symmetric filter of 100 ms; at the ends, waves go on as they end.
    Computed in float64, or weak bins would hear the rounding.
    """
    side, size = TAPS // 2, wavs.shape[-1]
    around = pad(wavs.reshape(-1, 1, size), (side, side), "replicate")[:, 0]
    around = in_float64(pad(around, (0, BLOCK - TAPS)))
    blocks = around.unfold(-1, BLOCK, BLOCK - TAPS + 1)
    response = torch.fft.rfft(low_pass().to(blocks), BLOCK)
    low = torch.fft.irfft(torch.fft.rfft(blocks) * response, BLOCK)
    low = low[..., TAPS - 1 :].flatten(1)[:, :size]
    return wavs - low.to(wavs).reshape(wavs.shape)


def in_float64(x: torch.Tensor) -> torch.Tensor:
    """Turn (...) into float64, on the CPU where its device has none (MPS).

    For what makes much of its rounding, in which libraries differ: logarithms
    of weak bins, places of pulses that add up.
    """
    return (x if x.is_cuda else x.cpu()).double()


@cache
def low_pass() -> torch.Tensor:
    """Taps (1601,) of the low-pass: a windowed sinc with a sum of 1."""
    time = torch.arange(TAPS, dtype=torch.float64) - TAPS // 2
    window = torch.hamming_window(TAPS, False, dtype=torch.float64)
    taps = torch.sinc(CORNER * time) * window
    return (taps / taps.sum()).float()


def speech_level(wavs: torch.Tensor) -> torch.Tensor:
    """Root mean square of waves where speech is.

    Frames of 20 ms are taken as no louder than the quantile of 97 %, and
    count where they are within 20 dB of it.

    Arguments
    ---------
    wavs : torch.Tensor
        float (..., T), T at least 320.

    Returns
    -------
    level : torch.Tensor
        (...), linear full scale; 0 for silence.
    """
    power = (
        wavs.unfold(-1, FRAME_LENGTH, FRAME_LENGTH).square().mean(-1)
    )  # (..., frames)
    count = power.shape[-1]
    rank = min(count, int(LOUD * count) + 1)
    loud = power.kthvalue(rank, -1, keepdim=True).values
    power = power.minimum(loud)
    active = power >= SPEECH_RANGE * loud
    return ((power * active).sum(-1) / active.sum(-1)).sqrt()
