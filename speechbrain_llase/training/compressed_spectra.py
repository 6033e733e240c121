"""The loss of the predictive network: compressed spectra, and the wave.

Magnitudes to the power of 0.3, alone and with their phases (Ephrat et al.,
arXiv:1804.03619), at three windows, and a little of the scale-invariant
signal-to-distortion ratio (Le Roux et al., arXiv:1811.02508).
"""

import torch

from speechbrain_llase.lobes.spectral_refiner import (
    COMPRESSION,
    power_of,
    unit_phase,
)

LEAST_SPECTRUM = 1e-5  # of a power spectrum
NOTHING = 1e-2  # energy of a wave that counts as none
BEST_DB = 25.0  # no ratio counts for more


class CompressedSpectraLoss(torch.nn.Module):
    """Compare estimated spectra, and the wave that they make, with speech.

    Arguments
    ---------
    magnitude_weight, complex_weight : float
        Of the squared error of magnitudes, and of magnitudes with phases.
    wave_weight : float
        Of the same at other windows, on the wave.
    windows : sequence of (int, int)
        Length and hop of these windows, in samples.
    ratio_weight : float
        Of the signal-to-distortion ratio, a dB.

    Example
    -------
    >>> loss = CompressedSpectraLoss(0.7, 0.3, 0.5, [(64, 16)], 0.002)
    >>> wave = torch.randn(1, 1600)
    >>> float(loss.of_waves(wave, wave)) <= 0
    True
    """

    def __init__(
        self,
        magnitude_weight: float,
        complex_weight: float,
        wave_weight: float,
        windows: list[tuple[int, int]],
        ratio_weight: float,
    ):
        super().__init__()
        self.weights = magnitude_weight, complex_weight
        self.wave_weight, self.ratio_weight = wave_weight, ratio_weight
        self.windows = [tuple(window) for window in windows]

    def forward(
        self,
        refiner: torch.nn.Module,
        magnitude: torch.Tensor,
        phase: torch.Tensor,
        clean: torch.Tensor,
        wave: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compare with clean speech.

        Arguments
        ---------
        refiner : SpectralRefiner
            Whose spectra they are.
        magnitude, phase : torch.Tensor
            (B, N, bins), as `SpectralRefiner.estimate` gives them.
        clean : torch.Tensor
            float32 (B, T), at the level of what the refiner heard.
        wave : torch.Tensor, optional
            (B, T), what these spectra make, where it is there already.

        Returns
        -------
        loss : torch.Tensor
            Scalar.
        """
        spectra = refiner.analyse(clean)
        own = self.distance(magnitude, magnitude * phase, spectra)
        if wave is None:
            wave = refiner.synthesise(magnitude, phase, clean.shape[1])
        return own + self.of_waves(wave, clean)

    def of_waves(self, wave: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """The part that compares waves (B, T)."""
        total = 0
        for length, hop in self.windows:
            window = torch.hann_window(length, device=wave.device)
            ours, theirs = (
                torch.stft(
                    x,
                    length,
                    hop,
                    window=window,
                    pad_mode="constant",
                    return_complex=True,
                )
                for x in (wave, clean)
            )
            loudness = (
                256 / length
            ) ** COMPRESSION  # longer windows add up more
            total += loudness * self.distance(*compress(ours), theirs)
        total = self.wave_weight * total / len(self.windows)
        return total - self.ratio_weight * distortion_ratio(wave, clean)

    def distance(
        self,
        magnitude: torch.Tensor,
        spectra: torch.Tensor,
        clean: torch.Tensor,
    ) -> torch.Tensor:
        """Squared errors of compressed magnitudes and spectra.

        Of the second, phases alone learn: magnitudes would shrink wherever a
        phase cannot be known, which is all of a far talker's.
        """
        wanted, wanted_spectra = compress(clean)
        size = power_of(spectra).sqrt().detach()
        error = size * unit_phase(spectra) - wanted_spectra
        error = (error.real.square() + error.imag.square()).mean()
        first, second = self.weights
        return first * (magnitude - wanted).square().mean() + second * error


def compress(spectra: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compressed magnitudes, and spectra that have them."""
    power = spectra.real.square() + spectra.imag.square() + LEAST_SPECTRUM
    return power ** (COMPRESSION / 2), spectra * power ** (
        COMPRESSION / 2 - 0.5
    )


def distortion_ratio(wave: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Scale-invariant signal-to-distortion ratio of (B, T), mean, in dB."""
    fit = (wave * clean).sum(1, keepdim=True)
    found = fit / (clean.square().sum(1, keepdim=True) + 1e-6) * clean
    signal = found.square().sum(1) + NOTHING
    error = (wave - found).square().sum(1) + NOTHING
    return (10 * torch.log10(signal / error)).clamp(max=BEST_DB).mean()
