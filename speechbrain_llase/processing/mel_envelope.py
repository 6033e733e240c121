"""The envelope of spectra in mel bands, and how a wave keeps it.

Frames of 80 ms overlap. Where their phases are made up, they add to a wave
whose own spectra have another envelope than was asked for: onsets smear, and
what is between words fills up. `envelope_gain` analyses the wave, compares
the bands and corrects the magnitudes, as Griffin and Lim (IEEE TASSP 32,
1984) correct phases.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
import torchaudio

from speechbrain_llase.processing.signal_processing import centred_frames

NUM_BANDS = 40
PASSES = 2  # a third brings DNSMOS P.808 and takes SIG
PASS_GAINS = (0.4, 2.5)  # of one pass
ALL_GAINS = (0.05, 4.0)  # of all passes together
BAND_FLOOR = 1e-5  # power that is added to that of a band


@lru_cache(maxsize=8)
def mel_bands(num_bins: int, num_bands: int = NUM_BANDS) -> torch.Tensor:
    """Triangular weights (bins, bands) up to 8 kHz; each band's add to 1."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)  # torchaudio takes no other word
    try:
        with torch.inference_mode(False):  # what is cached must train, too
            bands = torchaudio.functional.melscale_fbanks(
                num_bins, 0.0, 8000.0, num_bands, 16000
            )
            return bands / bands.sum(0)
    finally:
        torch.set_default_dtype(dtype)


def envelope_gain(
    magnitude: torch.Tensor,
    invert: Callable[[torch.Tensor], torch.Tensor],
    window: torch.Tensor,
    hop_length: int,
) -> torch.Tensor:
    """Gains of magnitudes whose wave then has the envelope they ask for.

    Magnitudes are float32 (B, N, W / 2 + 1), of the STFT of speech at 16 kHz
    by a window (W,); `invert` makes the wave (B, N * hop_length) of such.
    Frame n is centred on sample hop_length * (n + 0.5).
    """
    bands = mel_bands(magnitude.shape[-1]).to(magnitude.device)
    spread = (bands / bands.sum(1, keepdim=True).clamp(min=1e-6)).t()
    wanted = magnitude.square() @ bands + BAND_FLOOR
    gain = torch.ones_like(magnitude)
    for _ in range(PASSES):
        wav = invert(magnitude * gain)
        frames = centred_frames(wav, len(window), hop_length) * window
        power = torch.fft.rfft(frames).abs().square() @ bands + BAND_FLOOR
        ratio = (wanted / power).sqrt().clamp(*PASS_GAINS)
        gain = (gain * (1 + (ratio - 1) @ spread)).clamp(*ALL_GAINS)
    return gain
