"""Level and length of waveforms: plain functions, no model."""

import numpy as np
import torch

from speechbrain_llase.processing.hearing import remove_rumble

SILENT = 1e-10  # mean power below which a signal counts as silent: -100 dBFS
FRAME = 320  # samples; 20 ms at 16 kHz
ACTIVE_RANGE = 1e-3  # frames within 30 dB of the loudest count as speech
MATCH_FFT = 512  # samples; 32 ms at 16 kHz
MATCH_ENERGY = 0.9  # share of the enhanced energy that sets the gain
MATCH_CLASSES = 300  # of 1 dB, from -150 to 150 dB
RUMBLE = 0.01  # share of the input's power; less of it changes no gain
MATCH_BLOCK = 1 << 18  # samples; 16 s at 16 kHz
MIN_ENVELOPE = 1e-11  # of added windows


def check_signal(wave: torch.Tensor | np.ndarray, name: str) -> np.ndarray:
    """Give one signal (T,) as an array on the CPU, or raise a ValueError.

    It must be 1-D, floating and finite; `name` is what the error calls it.
    """
    if isinstance(wave, torch.Tensor):
        wave = wave.detach().cpu().numpy()
    wave = np.asarray(wave)
    if wave.ndim != 1 or not np.issubdtype(wave.dtype, np.floating):
        raise ValueError(
            f"{name} has shape {wave.shape} and dtype {wave.dtype}; give a "
            "1-D floating signal."
        )
    if not np.isfinite(wave).all():
        raise ValueError(
            f"{name} has NaN or infinite samples; remove or repair them."
        )
    return wave


def power(wave: np.ndarray) -> float:
    """Mean of the squares of (T,) floating; 0 for no samples."""
    return float(np.dot(wave, wave)) / max(wave.size, 1)


def to_peak(wav: torch.Tensor) -> torch.Tensor:
    """Divide (..., T) by the peak of its last axis, as the model is fed.

    The result lies in [-1, 1]; silence stays silence.
    """
    peak = wav.abs().amax(-1, keepdim=True)
    return wav / torch.where(peak > 0, peak, 1)


def within_full_scale(wav: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
    """Scale (T,) down to full scale, or to the peak of a louder one (S,)."""
    if not len(wav):
        return wav
    peak = wav.detach().abs().max()
    return wav * (beside.abs().max().clamp(min=1) / peak).clamp(max=1)


def centred_frames(wavs: torch.Tensor, length: int, hop: int) -> torch.Tensor:
    """Cut (B, N * hop) into frames (B, N, length), zeros past the ends.

    One around the middle of every hop; length less hop is even.

    Example
    -------
    >>> centred_frames(torch.tensor([[1, 2, 3, 4]]), 4, 2).tolist()
    [[[0, 1, 2, 3], [2, 3, 4, 0]]]
    """
    side = (length - hop) // 2
    return torch.nn.functional.pad(wavs, (side, side)).unfold(1, length, hop)


def synthesise(
    spectra: torch.Tensor, window: torch.Tensor, hop_length: int
) -> torch.Tensor:
    """Make waves of spectra of centred frames: the inverse STFT.

    Spectra are complex64 (B, N, W / 2 + 1), of `centred_frames` times the
    window (W,); hop_length divides W. Waves are float32 (B, N * hop_length).
    """
    frames = torch.fft.irfft(spectra, len(window)) * window
    wavs = overlap_add(frames, hop_length)
    power = window.square().expand(1, spectra.shape[1], -1)
    envelope = overlap_add(power, hop_length).clamp(min=MIN_ENVELOPE)
    side = (len(window) - hop_length) // 2
    inside = slice(side, -side)
    return wavs[:, inside] / envelope[:, inside]


def overlap_add(frames: torch.Tensor, hop_length: int) -> torch.Tensor:
    """Add frames (B, N, W) shifted by a hop each; hop_length divides W.

    The shifted parts of all frames are added at once, without folding.
    """
    batch, count, width = frames.shape
    parts = frames.unflatten(2, (-1, hop_length))
    shifts = width // hop_length
    total = frames.new_zeros(batch, count + shifts - 1, hop_length)
    for shift in range(shifts):
        total[:, shift : shift + count] += parts[:, :, shift]
    return total.flatten(1)


def fit_length(wav: torch.Tensor, num_samples: int) -> torch.Tensor:
    """Cut the last axis to num_samples, or append zeros up to it."""
    missing = num_samples - wav.shape[-1]
    return torch.nn.functional.pad(wav, (0, missing))


def active_level(wav: torch.Tensor) -> torch.Tensor:
    """Root mean square (...) of a waveform (..., T) where speech is, linear.

    The mean is over 20 ms frames within 30 dB of the loudest one: the idea
    of ITU-T P.56 (pauses do not count) in a simple form. T is at least 320.
    """
    power = wav.unfold(-1, FRAME, FRAME).square().mean(-1)  # (..., frames)
    active = power >= power.amax(-1, keepdim=True) * ACTIVE_RANGE
    return ((power * active).sum(-1) / active.sum(-1)).sqrt()


def to_active_level(wav: torch.Tensor, level_db: float) -> torch.Tensor:
    """Scale (..., T) so that its active level is level_db in dBFS."""
    level = active_level(wav).unsqueeze(-1)
    gain = 10 ** (level_db / 20) / torch.where(level > 0, level, 1)
    return wav * gain


def match_gain(enhanced: torch.Tensor, noisy: torch.Tensor) -> float:
    """Find the gain that brings enhanced speech to its level in the input.

    Both are float (T,); 0.0 when one of them is silent. See `GainMatcher`.
    """
    matcher = GainMatcher()
    for block in range(0, len(enhanced), MATCH_BLOCK):
        part = slice(block, block + MATCH_BLOCK)
        matcher.add(enhanced[part], noisy[part])
    return matcher.gain()


class GainMatcher:
    """Find the gain of enhanced speech, block by block.

    Generated waves are not phase-aligned with the input, so powers are
    matched, not samples: over the strongest time-frequency bins of the
    enhanced speech, as few as hold 90 % of its energy. Noise is spread over
    all bins and adds little to the input there. The bins are collected in
    classes of 1 dB, so memory does not grow with length. Where the input holds
    an offset or rumble, what lies under 60 Hz counts in neither.
    """

    def __init__(self):
        self.energy = torch.zeros(2, MATCH_CLASSES, dtype=torch.float64)
        self.noisy_energy = torch.zeros_like(self.energy)
        self.powers = torch.zeros(2, dtype=torch.float64)  # rumble, and all

    def add(self, enhanced: torch.Tensor, noisy: torch.Tensor) -> None:
        """Take a block (T,) of both."""
        both = enhanced.float(), noisy.float()
        clear = tuple(map(remove_rumble, both))
        for k, wav in enumerate((both[1] - clear[1], both[1])):
            self.powers[k] += wav.detach().cpu().double().square().sum()
        for k, (ours, theirs) in enumerate((both, clear)):
            ours, theirs = stft_power(ours), stft_power(theirs)
            level = 10 * torch.log10(ours + 1e-20) + MATCH_CLASSES / 2
            kind = level.clamp(0, MATCH_CLASSES - 1).long()
            self.energy = self.energy.to(ours.device)
            self.noisy_energy = self.noisy_energy.to(ours.device)
            self.energy[k] += torch.bincount(kind, ours, MATCH_CLASSES)
            self.noisy_energy[k] += torch.bincount(kind, theirs, MATCH_CLASSES)

    def gain(self) -> float:
        """Factor for the enhanced speech so far; 0.0 for silence."""
        rumbles = int(self.powers[0] > RUMBLE * self.powers[1])
        strongest = self.energy[rumbles].cpu().flip(0).cumsum(0)
        if strongest[-1] == 0:
            return 0.0
        count = int((strongest < MATCH_ENERGY * strongest[-1]).sum()) + 1
        noisy = self.noisy_energy[rumbles].cpu().flip(0)[:count].sum()
        gain = noisy / strongest[count - 1]
        return float(gain.sqrt())


def stft_power(wav: torch.Tensor) -> torch.Tensor:
    """Squared STFT magnitudes of (T,) in one row, float64."""
    window = torch.hann_window(
        MATCH_FFT, device=wav.device, dtype=torch.float32
    )
    spectrum = torch.stft(
        wav.float(),
        MATCH_FFT,
        MATCH_FFT // 2,
        window=window,
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum.abs().square().flatten()
    exact = torch.are_deterministic_algorithms_enabled()
    if power.device.type != "cuda" or exact:
        power = power.cpu()  # MPS has no float64, a GPU adds in any order
    return power.double()
