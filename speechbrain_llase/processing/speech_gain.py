"""The gain of generated speech: it follows the level of speech in the input.

Of a generated wave the words are known, not how loud they are to be. Frame by
frame the gain is a least squares fit of its power spectrum to the noisy one's:
the strongest bins decide, in which speech stands out of noise most. What the
noisy wave holds where the generated one pauses is taken off before. Frames
count whose spectra are alike; their median over 0.8 s of speech follows a
change of talkers and no click, and between them, in pauses, nothing changes.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch

from speechbrain_llase.processing.framing import HOP_LENGTH
from speechbrain_llase.processing.hearing import LOUD, remove_rumble
from speechbrain_llase.processing.signal_processing import (
    centred_frames,
    fit_length,
)

USUAL = 10 ** (-15 / 10)  # power of speech whose peaks are at full scale
SPECTRUM = 640  # samples of a frame, of which a row holds one; 40 ms
LOWEST = 3  # bin of 25 Hz; those below may hold rumble
BLURRED = 7  # bins that are averaged: pitch is generated less exactly
NEARBY = 51  # rows around one, a second
NEAR_RANGE = 1e-2  # speech is within 20 dB of what is loudest nearby,
RANGE = 1e-3  # and within 30 dB of what is loud anywhere
NOISE_ROWS = 201  # rows that show the noise around one, where they pause
LEAST_NOISE_ROWS = 10  # pausing rows among them, or no noise is known
LIKENESS_ROWS = 25  # rows over which spectra are compared
LIKENESS = 0.5  # cosine of two power spectra that hold the same speech
MEDIAN = 41  # rows of speech
SMOOTH = 21  # rows over which a gain changes


class Kept(Protocol):
    """What keeps some rows of a window, and leaves its context out."""

    def kept(self, rows: Sequence) -> Sequence:
        """Leave the context out of the rows (N, ...) of a window."""


class SpeechGain:
    """Bring the windows of one file to the level of its input, in their order.

    A window without speech goes on with the gain of the one before, the first
    with the model's own level. Speech is within 30 dB of what was speech
    before, at first of what a model generates: what is left of noise in a long
    pause, or of music in front, is no quiet talker.
    """

    def __init__(self):
        self.decibels = 0.0  # of the last row that was kept
        self.speech = USUAL  # power of the result where it was speech

    def __call__(
        self, wave: torch.Tensor, heard: torch.Tensor, window: Kept
    ) -> torch.Tensor:
        """Scale the wave of a window.

        Arguments
        ---------
        wave : torch.Tensor
            float32 (320 N,), generated, at any level.
        heard : torch.Tensor
            float32 (T,), the noisy audio of the window, in [-1, 1].
        window : Kept
            Says which rows are kept: the next window goes on after them.

        Returns
        -------
        wave : torch.Tensor
            float32 (320 N,), its speech as loud as in `heard`.
        """
        if not len(wave):
            return wave
        heard = fit_length(heard.detach(), len(wave))
        ours, theirs = (power_spectra(x) for x in (wave.detach(), heard))
        least = self.speech * RANGE / 10 ** (self.decibels / 10)
        rows, gains = speech_rows(ours, theirs, least)
        count = len(wave) // HOP_LENGTH
        curve = torch.full((count,), self.decibels, dtype=torch.float64)
        if len(rows):
            curve = smooth_curve(between(rows, running_median(gains), count))
            self.decibels = float(window.kept(curve)[-1])
            power = ours.sum(1) * 10 ** (curve / 10)
            self.speech = float(power[rows].mean())
        curve = torch.nn.functional.interpolate(
            curve[None, None], scale_factor=HOP_LENGTH, mode="linear"
        )
        return wave * (10 ** (curve[0, 0] / 20)).to(wave)

    def scale(self, gain: float) -> None:
        """Go on after the input was scaled."""
        self.decibels += 20 * math.log10(gain)
        self.speech *= gain**2


def speech_rows(
    ours: torch.Tensor, theirs: torch.Tensor, least: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the rows (S,) that hold speech, and their gains (S,) in dB.

    Of power spectra (N, bins), ours generated; speech has the `least` power.
    """
    power = ours.sum(1)
    count = len(power)
    loud = float(power.kthvalue(min(count, int(LOUD * count) + 1)).values)
    quiet = power <= max(RANGE * loud, least)
    both = (ours * (theirs - noise_around(theirs, quiet))).sum(1)
    own, other = ours.square().sum(1), theirs.square().sum(1)
    parts = (mean_around(x[None], LIKENESS_ROWS)[0] for x in (both, own, other))
    product, square, other_square = parts
    alike = product > LIKENESS * (square * other_square).sqrt()
    near = torch.nn.functional.max_pool1d(power[None], NEARBY, 1, NEARBY // 2)[
        0
    ]
    found = alike & ~quiet & (both > 0) & (power > NEAR_RANGE * near)
    rows = found.nonzero()[:, 0]
    return rows, 10 * (both[rows] / own[rows]).log10()


def power_spectra(wav: torch.Tensor) -> torch.Tensor:
    """Power spectra (N, bins) of (320 N,), blurred, in float64 on the CPU.

    The sum of a row is its mean power.
    """
    wav = remove_rumble(wav.float().cpu())
    frames = centred_frames(wav[None], SPECTRUM, HOP_LENGTH)[0]
    window = torch.hann_window(SPECTRUM, dtype=torch.float32)
    spectra = torch.fft.rfft(frames * window)[:, LOWEST:]
    whole = SPECTRUM / 2 * float(window.square().sum())
    return mean_around(spectra.abs().double().square() / whole, BLURRED)


def noise_around(spectra: torch.Tensor, quiet: torch.Tensor) -> torch.Tensor:
    """Mean of the spectra (N, bins) of quiet rows around each; zeros if few."""
    share = quiet.double()
    near = mean_around(share[None], NOISE_ROWS, False)[0, :, None]
    noise = mean_around((spectra * share[:, None]).T, NOISE_ROWS, False).T
    known = near * NOISE_ROWS > LEAST_NOISE_ROWS
    return torch.where(known, noise / near.clamp(min=1e-9), 0.0)


def mean_around(
    lines: torch.Tensor, count: int, inside: bool = True
) -> torch.Tensor:
    """Mean of `count` values around each of (B, T); past the ends are zeros.

    Those are left out of the means where only what lies `inside` counts.
    """
    return torch.nn.functional.avg_pool1d(
        lines[:, None], count, 1, count // 2, count_include_pad=not inside
    )[:, 0]


def running_median(gains: torch.Tensor) -> torch.Tensor:
    """Median of `MEDIAN` values around each of (S,), of fewer at the ends."""
    side = (MEDIAN // 2, MEDIAN // 2)
    padded = torch.nn.functional.pad(gains, side, value=math.nan)
    return padded.unfold(0, MEDIAN, 1).nanmedian(-1).values


def between(
    rows: torch.Tensor, gains: torch.Tensor, count: int
) -> torch.Tensor:
    """Go on (count,) from row to row (S,): with the lower of two gains."""
    at = torch.arange(count)
    after = torch.searchsorted(rows, at).clamp(max=len(rows) - 1)
    before = torch.where(at < rows[after], after - 1, after).clamp(min=0)
    return gains[before].minimum(gains[after])


def smooth_curve(curve: torch.Tensor) -> torch.Tensor:
    """Mean of `SMOOTH` values around each of (N,), the ends repeated."""
    side = SMOOTH // 2
    padded = torch.nn.functional.pad(
        curve[None, None], (side, side), "replicate"
    )
    return torch.nn.functional.avg_pool1d(padded, SMOOTH, 1)[0, 0]
