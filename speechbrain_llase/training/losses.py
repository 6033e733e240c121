"""Losses of spectra, of pitch and of digits, for the recipe of llase_mini."""

import torch
from torch.nn.functional import cross_entropy

from speechbrain_llase.lobes.spectral_encoder import (
    SPECTRUM_LENGTH,
    autocorrelation,
    magnitudes,
)
from speechbrain_llase.nnet.fsq import NUM_LEVELS
from speechbrain_llase.processing.mel_envelope import mel_bands


class MagnitudeLoss(torch.nn.Module):
    """L1 distance of predicted spectra from those of speech.

    Of their logarithms and of their magnitudes raised to a power, so that
    neither silence nor the strongest bins decide alone, and of their envelope
    on a mel scale: single bins cannot be foretold where there is noise, and
    drown what tells words and voices apart. No wave is made, so no phase is
    asked for.

    Arguments
    ---------
    low_weight : float
        Weight of the bins below 1 kHz, where harmonics are told apart first;
        half as much more than 1 is that of the bins up to 2.5 kHz.
    floor : float
        Magnitude that is added before the logarithm.
    power : float
        Of the magnitudes, over 0 and at most 1.
    envelope_weight : float
        Of the distance of the envelopes (natural logarithms of the rms in 40
        mel bands) beside that of the bins.

    Example
    -------
    >>> loss = MagnitudeLoss(4.0, 0.01, 0.3, 3.0)
    >>> wavs = torch.rand(2, 3200)
    >>> float(loss(magnitudes(wavs).log(), wavs)) < 1e-4
    True
    """

    def __init__(
        self,
        low_weight: float,
        floor: float,
        power: float,
        envelope_weight: float,
    ):
        super().__init__()
        self.floor, self.power = floor, power
        self.envelope_weight = envelope_weight
        self.register_buffer("bands", mel_bands(SPECTRUM_LENGTH // 2 + 1))
        weights = torch.ones(SPECTRUM_LENGTH // 2 + 1)
        weights[:200] = (1 + low_weight) / 2  # bins of 12.5 Hz
        weights[:80] = low_weight
        self.register_buffer("weights", weights / weights.mean())

    def forward(
        self, log_magnitudes: torch.Tensor, wavs: torch.Tensor
    ) -> torch.Tensor:
        """Compare (B, N, 641) with the spectra of (B, 320 N)."""
        ours, theirs = log_magnitudes.float().exp(), magnitudes(wavs.float())
        logs = [x.add(self.floor).log() for x in (ours, theirs)]
        powers = [x.add(1e-4).pow(self.power) for x in (ours, theirs)]
        distance = sum((a - b).abs() for a, b in (logs, powers))
        bins = (distance * self.weights).mean()
        ours, theirs = self.envelope(ours), self.envelope(theirs)
        envelopes = (ours - theirs).abs().mean()
        return bins + self.envelope_weight * envelopes

    def envelope(self, magnitude: torch.Tensor) -> torch.Tensor:
        """Smooth (B, N, 641) to logarithms of mel bands (B, N, 40)."""
        with torch.autocast(magnitude.device.type, enabled=False):
            power = magnitude.square() @ self.bands
        return 0.5 * power.add(self.floor**2).log()


def pitch_loss(lags: torch.Tensor, wavs: torch.Tensor) -> torch.Tensor:
    """Mean squared error of predicted autocorrelations where there is speech.

    Without it, a decoder settles for spectra without harmonics before its
    tokens have learned to carry pitch. Lags are (B, N, 228), see
    `autocorrelation`, waves clean, float (B, 320 N); the mean is over the
    frames with at least 2 % of an item's mean power.
    """
    power = magnitudes(wavs).square().sum(-1)
    active = (power > 0.02 * power.mean(1, keepdim=True)).float()
    error = (lags.float() - autocorrelation(wavs)).square().mean(-1)
    return (error * active).sum() / active.sum().clamp(min=1)


def digit_loss(
    logits: torch.Tensor, levels: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Cross-entropy of FSQ digits, smoothed over neighbouring levels.

    Levels have an order: one beside the right one is a small error. A share of
    `smoothing` (0 to below 0.5) of the target lies on each neighbour there is.
    Logits are float (..., 4), levels int64 (...) in [0, 4), the loss a scalar.

    Example
    -------
    >>> logits, levels = torch.zeros(2, 8, 4), torch.ones(2, 8).long()
    >>> round(float(digit_loss(logits, levels, 0.1)), 3)  # log(4)
    1.386
    """
    if not 0 <= smoothing < 0.5:
        raise ValueError(
            f"smoothing={smoothing}; give a share from 0 to below 0.5."
        )
    table = torch.eye(NUM_LEVELS, device=logits.device)
    order = torch.arange(NUM_LEVELS, device=logits.device)
    beside = ((order[:, None] - order).abs() == 1).float()
    table = table + smoothing * (beside - beside.sum(1).diag())
    target = table[levels.flatten()]
    return cross_entropy(logits.float().flatten(0, -2), target)
