"""Targets without their own background.

Recordings of clean speech hold the noise of their rooms. A network that
learns from them as they are learns to leave noise behind: the softest tenth
of an utterance shows what is taken out of all of it.
"""

import torch

STFT_LENGTH = 512  # samples; 32 ms at 16 kHz
STFT_HOP = 128
QUIETEST = 0.1  # quantile over time of a bin's power that is background alone
EXCESS = 7.5  # times that is subtracted: 0.8 of the mean of a steady noise
SMALLEST_GAIN = 0.2  # nothing becomes more than 14 dB softer


def remove_background(wave: torch.Tensor) -> torch.Tensor:
    """Take the steady background out of a whole utterance.

    Spectral subtraction (Boll, 1979) with gains smoothed over bins and
    frames; speech is left as it is where it stands out.

    Arguments
    ---------
    wave : torch.Tensor
        float (T,), 16 kHz, with pauses.

    Returns
    -------
    wave : torch.Tensor
        Same shape.

    Example
    -------
    >>> noise = 0.001 * torch.randn(32000)
    >>> float(remove_background(noise).norm() / noise.norm()) < 0.6
    True
    """
    window = torch.hann_window(STFT_LENGTH)
    spectrum = torch.stft(
        wave,
        STFT_LENGTH,
        STFT_HOP,
        window=window,
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum.abs().square()  # (bins, frames)
    quiet = torch.quantile(power, QUIETEST, dim=1, keepdim=True)
    quiet = smooth(quiet, (5, 1)) + 1e-12
    gain = 1 - EXCESS * quiet / (smooth(power, (3, 5)) + 1e-12)
    gain = gain.clamp(min=0).sqrt().clamp(min=SMALLEST_GAIN)
    return torch.istft(
        smooth(gain, (3, 3)) * spectrum,
        STFT_LENGTH,
        STFT_HOP,
        window=window,
        length=len(wave),
    )


def smooth(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Mean of (bins, frames) over neighbours, of those that there are."""
    sides = size[0] // 2, size[1] // 2
    return torch.nn.functional.avg_pool2d(
        image[None], size, 1, sides, count_include_pad=False
    )[0]
