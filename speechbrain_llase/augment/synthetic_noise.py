"""Synthesised noises and rooms for training mixtures.

Everything here is drawn from a `numpy.random.Generator` handed in by the
caller, so the same generator state gives the same samples.
"""

import numpy as np
from scipy.fft import irfft, next_fast_len
from scipy.signal import lfilter

_RMS = 0.1  # of every synthesised noise: -20 dBFS
_FLOOR = 1e-3  # white noise below every kind: no kind is ever silent
_TABLE = 4096  # samples in one period of a wavetable
_TAIL_START_S = 0.0025  # before it only the direct path is in a room response


def synthesise_noise(
    kind: str, num_samples: int, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw one noise signal.

    Arguments
    ---------
    kind : str
        One of `NOISE_KINDS`: white, pink, brown, band (a band with a slow
        amplitude modulation), hum (50 or 60 Hz and harmonics), clicks
        (keyboard-like bursts), engine (harmonics of an unsteady speed),
        music (decaying notes of a scale), wind (low rumble in gusts).
    num_samples : int
        Length of the result, at least 1.
    sample_rate : int
        In Hz.
    rng : np.random.Generator
        Source of all randomness.

    Returns
    -------
    noise : np.ndarray
        (num_samples,) float32 with an RMS of 0.1 (-20 dBFS); peaks can
        exceed 1.

    Raises
    ------
    ValueError
        If the kind is unknown or the length is below 1.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> synthesise_noise("pink", 16000, 16000, rng).shape
    (16000,)
    """
    if kind not in _SYNTHESISERS:
        raise ValueError(
            f"Unknown noise kind {kind!r}; choose from {', '.join(NOISE_KINDS)}."
        )
    if num_samples < 1:
        raise ValueError(
            f"num_samples is {num_samples}; it must be at least 1."
        )
    noise = _SYNTHESISERS[kind](num_samples, sample_rate, rng)
    noise = noise * (1 / _rms(noise))
    noise = noise + _FLOOR * rng.standard_normal(num_samples, dtype=np.float32)
    return (noise * (_RMS / _rms(noise))).astype(np.float32)


def synthesise_rir(
    rt60_s: float, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw a room response: direct path, early reflections, decaying noise.

    The direct path is sample 0 and exactly 1, the largest magnitude. Three to
    eight reflections of either sign follow between 2.5 and 30 ms. The tail is
    low-passed noise that loses 60 dB in `rt60_s`; its energy lies 3 to 15 dB
    below that of the direct path. float32, as long as the reverberation time,
    which is in seconds, over 0.01 (else a ValueError).
    """
    if not rt60_s > 0.01:
        raise ValueError(f"rt60_s is {rt60_s}; it must be over 0.01 s.")
    size = round(rt60_s * sample_rate)
    start = round(_TAIL_START_S * sample_rate)
    decay = 10 ** (-3 * np.arange(size) / size)
    pole = rng.uniform(0.1, 0.7)  # walls absorb high frequencies more
    tail = lfilter([1 - pole], [1, -pole], rng.standard_normal(size)) * decay
    tail[:start] = 0
    energy = 10 ** (rng.uniform(-15, -3) / 10)
    rir = tail * np.sqrt(energy / np.dot(tail, tail))
    last = min(size, round(0.03 * sample_rate))
    where = rng.integers(start, last, rng.integers(3, 9))
    rir[where] += rng.uniform(-0.5, 0.5, where.size) * decay[where]
    rir = np.clip(rir, -0.9, 0.9)
    rir[0] = 1
    return rir.astype(np.float32)


def _rms(wave: np.ndarray) -> float:
    """Root of the mean square; the smallest float32 instead of zero."""
    power = np.dot(wave, wave) / wave.size
    return max(float(np.sqrt(power)), float(np.finfo(np.float32).tiny))


def _shaped(size, sample_rate, rng, gain):
    """Gaussian noise with the magnitude response gain(frequencies in Hz)."""
    fast = next_fast_len(max(size, 512), real=True)
    freqs = np.arange(fast // 2 + 1, dtype=np.float32) * (sample_rate / fast)
    bins = rng.standard_normal(2 * freqs.size, dtype=np.float32)
    return irfft(bins.view(np.complex64) * gain(freqs), fast)[:size]


def _envelope(size, sample_rate, rng, rate_hz):
    """Smooth positive random curve with about rate_hz turns per second."""
    knots = 3 + int(size / sample_rate * rate_hz)
    levels = 10 ** rng.uniform(-1, 0, knots)  # 20 dB between low and high
    return np.interp(np.linspace(0, knots - 1, size), np.arange(knots), levels)


def _wavetable(cycles, partials, rng):
    """One periodic wave read at a phase in cycles; partials from the first."""
    bins = np.zeros(_TABLE // 2 + 1, dtype=np.complex64)
    angles = rng.uniform(0, 2 * np.pi, len(partials))
    bins[1 : len(partials) + 1] = partials * np.exp(1j * angles)
    table = irfft(bins) * _TABLE
    return table[(cycles * _TABLE).astype(np.int64) % _TABLE]


def _partials(f0, sample_rate, rng, most=30):
    """Falling random magnitudes of the harmonics below half the rate."""
    count = max(1, min(most, int(0.45 * sample_rate / f0)))
    falling = np.arange(1, count + 1) ** -rng.uniform(0.5, 1.5)
    return falling * rng.uniform(0.1, 1, count)


def _white(size, sample_rate, rng):
    return rng.standard_normal(size, dtype=np.float32)


def _pink(size, sample_rate, rng):
    return _shaped(
        size, sample_rate, rng, lambda f: 1 / np.sqrt(np.maximum(f, 20))
    )


def _brown(size, sample_rate, rng):
    return _shaped(size, sample_rate, rng, lambda f: 1 / np.maximum(f, 20))


def _band(size, sample_rate, rng):
    low = rng.uniform(50, 0.25 * sample_rate)
    high = rng.uniform(1.2 * low, 0.45 * sample_rate)
    noise = _shaped(
        size, sample_rate, rng, lambda f: 1.0 * ((f >= low) & (f <= high))
    )
    return noise * _envelope(size, sample_rate, rng, rng.uniform(0.5, 8))


def _hum(size, sample_rate, rng):
    f0 = rng.choice([50.0, 60.0]) * rng.uniform(0.998, 1.002)
    cycles = np.arange(size) * (f0 / sample_rate)
    return _wavetable(cycles, _partials(f0, sample_rate, rng), rng)


def _engine(size, sample_rate, rng):
    f0 = rng.uniform(25, 150)
    drift = 0.8 + 0.4 * _envelope(size, sample_rate, rng, 0.5)
    jitter = 1 + 0.02 * rng.standard_normal(size)
    cycles = np.cumsum(f0 / sample_rate * drift * jitter)
    tone = _wavetable(cycles, _partials(1.2 * f0, sample_rate, rng), rng)
    hiss = _pink(size, sample_rate, rng)
    return tone + hiss * (rng.uniform(0.1, 1) * _rms(tone) / _rms(hiss))


def _clicks(size, sample_rate, rng):
    noise = np.zeros(size)
    count = 1 + rng.poisson(rng.uniform(2, 12) * size / sample_rate)
    for start in rng.integers(0, size, count):
        burst = min(int(rng.uniform(0.003, 0.04) * sample_rate), size - start)
        burst = max(burst, 1)
        shape = np.exp(-np.arange(burst) * (5 / burst))
        level = 10 ** rng.uniform(-1, 0)
        noise[start : start + burst] += (
            level * shape * rng.standard_normal(burst)
        )
    return noise


def _music(size, sample_rate, rng):
    noise = np.zeros(size)
    root = rng.uniform(80, 320)
    scale = np.array([0, 2, 4, 7, 9, 12, 14, 16, 19])
    count = 2 + rng.poisson(rng.uniform(2, 6) * size / sample_rate)
    for _ in range(count):
        start = rng.integers(-sample_rate // 2, size)
        length = int(rng.uniform(0.2, 1.2) * sample_rate)
        first, last = max(start, 0), min(start + length, size)
        if first >= last:
            continue
        steps = np.arange(first - start, last - start)
        f0 = root * 2 ** (rng.choice(scale) / 12)
        partials = _partials(f0, sample_rate, rng, most=12)
        note = _wavetable(steps * (f0 / sample_rate), partials, rng)
        fade = np.exp(-steps * (5 / length)) * np.minimum(steps / 80, 1)
        noise[first:last] += note * fade * rng.uniform(0.2, 1)
    return noise


def _wind(size, sample_rate, rng):
    corner = rng.uniform(80, 500)
    noise = _shaped(
        size, sample_rate, rng, lambda f: 1 / (1 + (f / corner) ** 2)
    )
    return noise * _envelope(size, sample_rate, rng, rng.uniform(0.5, 3))


_SYNTHESISERS = {
    "white": _white,
    "pink": _pink,
    "brown": _brown,
    "band": _band,
    "hum": _hum,
    "clicks": _clicks,
    "engine": _engine,
    "music": _music,
    "wind": _wind,
}
NOISE_KINDS = tuple(_SYNTHESISERS)
