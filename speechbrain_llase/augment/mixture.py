"""One noisy signal out of speech, noise and a room, and its signal steps.

Pure functions on 1-D float32 signals; noise_mixer.py draws what goes into them.
"""

import dataclasses

import numpy as np
import torch
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import oaconvolve

from speechbrain_llase.processing.signal_processing import (
    SILENT,
    check_signal,
    power,
)

PEAK = 0.99  # largest magnitude in a mixture
CROPS = 10  # that are drawn before the loudest place is taken
_MARGIN = 256  # samples on both sides that a circular filter may touch


@dataclasses.dataclass(frozen=True)
class Mixture:
    """One noisy signal and what it is made of.

    `noisy` is `reverberant` plus the noise, unless the sampler added a fault.
    """

    noisy: torch.Tensor  # (T,) float32
    clean: torch.Tensor  # (T,) float32, the direct path alone: the target
    reverberant: torch.Tensor  # (T,) float32, the speech in the room
    snr_db: float  # mean power of reverberant over that of the noise
    level_db: float  # RMS of noisy in dBFS
    kind: str  # what the noise is
    task: str = "se"  # what is to be made of noisy
    reference: torch.Tensor | None = None  # (S,) float32, heard beside it


def mix(
    clean: torch.Tensor | np.ndarray,
    noise: torch.Tensor | np.ndarray,
    snr_db: float,
    level_db: float | None = None,
    rir: torch.Tensor | np.ndarray | None = None,
    kind: str = "given",
) -> Mixture:
    """Mix speech with noise, (T,) floating, at an exact ratio and level.

    The ratio is that of the mean powers, over the whole signal, of the
    reverberant speech (dry, where no room is given) and of the noise. The
    largest magnitude of the room response is taken as the direct path: the
    response is shifted and scaled so that this sample is 1 at time 0, and the
    target is the dry speech with the delay and the level of the direct path.

    Arguments
    ---------
    clean, noise, rir : torch.Tensor or np.ndarray
        Dry speech (T,), noise (T,) and, if there is a room, its response (R,).
    snr_db : float
        Speech-to-noise ratio in dB.
    level_db : float, optional
        RMS of the noisy signal in dBFS; None keeps the level of `clean`.
        Where a signal would exceed 0.99, all are scaled down together and
        `Mixture.level_db` is the level reached.
    kind : str
        Name of the noise, passed on.

    Raises
    ------
    ValueError
        If an input is not 1-D, not floating, not finite, silent, or if speech
        and noise differ in length.

    Example
    -------
    >>> speech, noise = torch.randn(2, 16000)
    >>> mixture = mix(speech, noise, snr_db=5.0, level_db=-25.0)
    >>> round(mixture.level_db, 3)
    -25.0
    """
    clean = check_audible(clean, "clean")
    noise = check_audible(noise, "noise")
    if clean.size != noise.size:
        raise ValueError(
            f"clean has {clean.size} samples and noise {noise.size}; crop or "
            "repeat the noise to the length of the speech."
        )
    speech = clean
    if rir is not None:
        speech = in_room(clean, check_audible(rir, "rir"))
    noise_gain = np.sqrt(power(speech) / power(noise) * 10 ** (-snr_db / 10))
    noisy = speech + np.float32(noise_gain) * noise
    gain = 1.0
    if level_db is not None:
        gain = 10 ** (level_db / 20) / np.sqrt(power(noisy))
    peak = max(np.abs(wave).max() for wave in (noisy, speech, clean))
    gain = np.float32(min(gain, PEAK / peak))
    noisy = noisy * gain
    return Mixture(
        noisy=torch.from_numpy(noisy),
        clean=torch.from_numpy(clean * gain),
        reverberant=torch.from_numpy(speech * gain),
        snr_db=float(snr_db),
        level_db=level(noisy),
        kind=kind,
    )


def in_room(wave: np.ndarray, rir: np.ndarray) -> np.ndarray:
    """Put (T,) into a room of response (R,), whose direct path is 1 at once."""
    rir = np.asarray(rir)
    direct = int(np.argmax(np.abs(rir)))
    heard = oaconvolve(wave, rir / rir[direct])
    return heard[direct : direct + wave.size]


def overlay(
    mixture: Mixture, sound: np.ndarray, ratio_db: float
) -> tuple[Mixture, float]:
    """Add another sound, (T,) float32, to the noisy signal of a mixture.

    The ratio is that of the mean powers of `reverberant` and of the sound.
    Where the sum would exceed 0.99, all is scaled down together. Gives the
    mixture and the factor of the sound in it.
    """
    loudness = max(power(sound), SILENT)  # all of it may come too late
    ratio = power(mixture.reverberant.numpy()) / loudness
    gain = np.float32(np.sqrt(ratio * 10 ** (-ratio_db / 10)))
    noisy = mixture.noisy.numpy() + gain * sound
    fit = np.float32(min(1, PEAK / np.abs(noisy).max()))
    louder = dataclasses.replace(
        mixture,
        noisy=torch.from_numpy(fit * noisy),
        clean=mixture.clean * float(fit),
        reverberant=mixture.reverberant * float(fit),
        level_db=level(fit * noisy),
    )
    return louder, float(fit * gain)


def vary(draw, num_samples: int, sample_rate: int, speed, eq_db, rng):
    """Change speed (and pitch) and colour of a signal, in one FFT.

    `draw` is called with the number of samples needed (about `speed` times as
    many), and returns that many. `speed` is the lowest and the highest factor;
    lengths are rounded to fast ones, which can add up to 3 %. `eq_db` is the
    largest gain of the tilt between lowest and highest frequency and of one
    bell of one octave, both of random sign; 0 leaves the spectrum. Gives
    float32 (num_samples,).
    """
    size_out = next_fast_len(num_samples + 2 * _MARGIN, real=True)
    factor = rng.uniform(*speed)
    size_in = next_fast_len(round(size_out * factor), real=True)
    bins = rfft(draw(size_in))[: size_out // 2 + 1]
    freqs = np.arange(bins.size, dtype=np.float32) * (sample_rate / size_out)
    octaves = np.log2(np.maximum(freqs, 50) / 50)
    tilt, bell = rng.uniform(-eq_db, eq_db, 2).astype(np.float32)
    centre = np.float32(rng.uniform(1, octaves[-1]))
    gain_db = tilt * (octaves / octaves[-1] - 0.5)
    gain_db += bell * np.exp(-((octaves - centre) ** 2))
    bins *= np.float32(size_out / size_in) * 10 ** (gain_db / 20)
    start = (size_out - num_samples) // 2
    return irfft(bins, size_out)[start : start + num_samples]


def with_fault(
    mixture: Mixture, sample_rate: int, rng: np.random.Generator
) -> Mixture:
    """Clip or low-pass the noisy signal of a mixture, and nothing else.

    Gives a copy with a new `noisy` and its `level_db`; `snr_db` is that before
    the fault. Clipping is at 0.1 to 0.6 of the peak, the low-pass falls within
    10 % above a corner of a quarter to three quarters of half the rate (Hz).
    """
    noisy = mixture.noisy.numpy()
    if rng.random() < 0.5:
        limit = np.abs(noisy).max() * np.float32(rng.uniform(0.1, 0.6))
        noisy = np.clip(noisy, -limit, limit)
    else:
        size = next_fast_len(noisy.size + _MARGIN, real=True)
        bins = rfft(noisy, size)
        corner = rng.uniform(0.25, 0.75)
        above = np.linspace(0, 1, bins.size, dtype=np.float32) / corner - 1
        bins *= np.clip(1 - 10 * above, 0, 1)
        noisy = irfft(bins, size)[: noisy.size]
    noisy = noisy * np.float32(min(1, PEAK / np.abs(noisy).max()))
    return dataclasses.replace(
        mixture, noisy=torch.from_numpy(noisy), level_db=level(noisy)
    )


def crop(wave, least, rng, size):
    """Cut `size` samples that hold at least a share of the mean power.

    It is their middle three quarters that must hold it, as `vary` cuts the
    ends. A wave that is shorter is put at a random place between zeros.
    """
    spare = wave.size - size
    if spare <= 0:
        padded = np.zeros(size, dtype=np.float32)
        start = int(rng.integers(1 - spare))
        padded[start : start + wave.size] = wave
        return padded
    wanted = least * power(wave)
    for _ in range(CROPS):
        start = int(rng.integers(spare + 1))
        middle = slice(start + size // 8, start + size - size // 8)
        if power(wave[middle]) >= wanted:
            return wave[start : start + size]
    start = min(max(int(np.argmax(np.abs(wave))) - size // 2, 0), spare)
    return wave[start : start + size]


def crop_repeated(wave, least, rng, size):
    """Like `crop`, but a wave that is shorter is repeated."""
    if wave.size < size:
        wave = np.tile(wave, -(-size // wave.size) + 1)
    return crop(wave, least, rng, size)


def check_audible(wave: torch.Tensor | np.ndarray, name: str) -> np.ndarray:
    """Check a signal that must not be silent, and give it as float32 (T,)."""
    wave = check_signal(wave, name).astype(np.float32, copy=False)
    if power(wave) < SILENT:
        raise ValueError(
            f"{name} is silent (RMS below -100 dBFS) or empty; leave it out."
        )
    return wave


def level(wave: np.ndarray) -> float:
    """RMS of (T,) floating, not silent, in dBFS (a full-scale square wave: 0)."""
    return float(10 * np.log10(power(wave)))
