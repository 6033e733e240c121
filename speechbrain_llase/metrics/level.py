"""Level and clipping of one wave, to be printed beside the scores."""

import numpy as np
import torch

from speechbrain_llase.metrics.checks import Wave, check_wave
from speechbrain_llase.processing.framing import SAMPLE_RATE
from speechbrain_llase.processing.signal_processing import FRAME, active_level

CLIPPED = 0.999  # of full scale


def check_level(wav: Wave, sample_rate: int = SAMPLE_RATE) -> dict[str, float]:
    """Measure how loud a wave is and how much of it is clipped.

    Arguments
    ---------
    wav : torch.Tensor or np.ndarray
        (T,) floating within [-1, 1], T at least 320.
    sample_rate : int
        In Hz; only 16000 is supported.

    Returns
    -------
    figures : dict
        level, the active level in dBFS, and clipped, the percentage of the
        samples within 0.1 % of full scale.

    Raises
    ------
    ValueError
        If the wave is not allowed, all zero (it has no level) or shorter
        than 320 samples.

    Example
    -------
    >>> check_level(torch.full((640,), 0.1))
    {'level': -19.9..., 'clipped': 0.0}
    """
    wav = check_wave(wav, sample_rate)
    if wav.size < FRAME or not wav.any():
        raise ValueError(
            f"The wave of {wav.size} samples is all zero or shorter than "
            f"{FRAME}: it has no level."
        )
    level = float(active_level(torch.from_numpy(wav.astype(np.float64))))
    if not level:  # the only samples that are not zero lie past whole frames
        raise ValueError("All whole frames of the wave are zero: no level.")
    return {
        "level": 20 * float(np.log10(level)),
        "clipped": 100 * float((np.abs(wav) >= CLIPPED).mean()),
    }
