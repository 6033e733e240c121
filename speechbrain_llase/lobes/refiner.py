"""Refiner: keep of the noisy input what it says clearly.

Sixteen bits a frame cannot say all that a word or a voice is made of, and a
small model predicts some of them wrongly. Where speech stands out of the
noise, the input itself says it better. A refiner hears the decoded wave and
the noisy one, decides frame by frame and band by band how much of each to
take, and corrects their envelope; phases are taken likewise and then brought
in line with the magnitudes (fast Griffin-Lim: Perraudin et al., WASPAA 2013).
A released model has none.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import silu

from speechbrain_llase.nnet.layers import convolve
from speechbrain_llase.nnet.packing import each_run, pack, unpack
from speechbrain_llase.processing.mel_envelope import NUM_BANDS, mel_bands
from speechbrain_llase.processing.signal_processing import (
    centred_frames,
    fit_length,
    synthesise,
)

FLOOR = 1e-2  # magnitude under which a band is silent, at the codec's level
LEAST = 1e-5  # magnitude of a bin, before a logarithm
QUIET = 0.1  # quantile over time of a band that shows how loud the noise is
GAINS = (0.01, 8.0)  # of a band
MOMENTUM = 0.99 / 1.99  # of Griffin-Lim
KERNEL = 5  # frames that a block sees


class Refiner(torch.nn.Module):
    """Blend the decoded wave with the noisy one.

    Arguments
    ---------
    width : int
        Channels.
    dilations : sequence of int
        Of the residual blocks, one each; together they see
        1 + 2 * sum(dilations) frames on either side.
    window_length : int
        Samples of the STFT's window; a multiple of twice hop_length.
    hop_length : int
        Samples between frames; divides 320.
    passes : int
        Of Griffin-Lim.

    Example
    -------
    >>> refiner = Refiner(8, (1,))
    >>> refiner(torch.rand(1, 3200), torch.rand(1, 3200)).shape
    torch.Size([1, 3200])
    """

    def __init__(
        self,
        width: int,
        dilations: Sequence[int] = (1, 3, 8),
        window_length: int = 640,
        hop_length: int = 160,
        passes: int = 8,
    ):
        super().__init__()
        if window_length % (2 * hop_length) or 320 % hop_length:
            raise ValueError(
                f"hop_length={hop_length} must divide 320, and twice of it "
                f"window_length={window_length}."
            )
        self.hop_length, self.passes = hop_length, passes
        self.level = (window_length / 1280) ** 0.5  # FLOOR is of 1280 samples
        window = torch.hann_window(window_length)
        self.register_buffer("window", window, persistent=False)
        bands = mel_bands(window_length // 2 + 1)
        self.register_buffer("bands", bands, persistent=False)
        spread = bands / bands.sum(1, keepdim=True).clamp(min=1e-6)
        self.register_buffer("spread", spread.t(), persistent=False)
        self.embed = torch.nn.Conv1d(3 * NUM_BANDS, width, 3)
        self.blocks = torch.nn.ModuleList(
            torch.nn.Conv1d(width, width, KERNEL, dilation=dilation)
            for dilation in dilations
        )
        self.decide = torch.nn.Conv1d(width, 2 * NUM_BANDS, 1)

    def forward(
        self, decoded: torch.Tensor, noisy: torch.Tensor
    ) -> torch.Tensor:
        """Refine waves.

        Arguments
        ---------
        decoded : torch.Tensor
            float32 (B, 320 N), at the codec's level.
        noisy : torch.Tensor
            float32 (B, 320 N), at any level.

        Returns
        -------
        wavs : torch.Tensor
            float32 (B, 320 N), at the codec's level.
        """
        magnitude, phase = self.blend(decoded, noisy)
        return self.settle(magnitude, phase)

    def refine_each(self, pairs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Refine pairs of any lengths, without padding.

        Arguments
        ---------
        pairs : list of torch.Tensor
            float32 (320 N, 2) each: the decoded wave and the noisy one.

        Returns
        -------
        wavs : list of torch.Tensor
            float32 (320 N,) each.
        """
        rows, runs = pack(pairs)

        def refine(both):
            return self(*both.unbind(-1))

        return unpack(each_run(refine, rows.float(), runs), runs)

    def blend(
        self, decoded: torch.Tensor, noisy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose magnitudes, to train on them, and unit phases to begin with.

        Arguments
        ---------
        decoded, noisy : torch.Tensor
            As for `forward`.

        Returns
        -------
        magnitude : torch.Tensor
            float32 (B, M, bins), M frames of hop_length.
        phase : torch.Tensor
            complex64 (B, M, bins), of magnitude 1.
        """
        ours, theirs = self.analyse(decoded), self.analyse(noisy)
        loud, noisy_bins = ours.abs(), theirs.abs()
        envelope = self.envelope(loud)
        gain = level_gain(envelope, self.envelope(noisy_bins, LEAST))
        noisy_bins = noisy_bins * gain
        beside = self.envelope(noisy_bins)
        share, wanted = self.choose(envelope, beside)
        own = loud * self.band_gain(wanted - envelope)
        other = noisy_bins * self.band_gain(wanted - beside)
        share = share @ self.spread
        own, other = own.add(LEAST).log(), other.add(LEAST).log()
        phase = (1 - share) * unit(ours) + share * unit(theirs)
        return torch.lerp(own, other, share).exp(), unit(phase)

    def choose(
        self, envelope: torch.Tensor, beside: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decide on every band of every frame.

        Arguments
        ---------
        envelope, beside : torch.Tensor
            (B, M, 40), natural logarithms, of the decoded and the noisy wave
            at one level.

        Returns
        -------
        share : torch.Tensor
            (B, M, 40), from 0 to 1, of the noisy wave.
        wanted : torch.Tensor
            (B, M, 40), the envelope of the result.
        """
        quiet = torch.quantile(beside, QUIET, dim=1, keepdim=True)
        seen = (beside, envelope, quiet.expand_as(beside))
        hidden = convolve(self.embed, torch.cat(seen, -1) / 2 + 1, 1)
        for block in self.blocks:
            side = block.dilation[0] * (KERNEL // 2)
            hidden = hidden + silu(convolve(block, silu(hidden), side))
        share, change = convolve(self.decide, silu(hidden)).chunk(2, -1)
        share = torch.sigmoid(share - 1)
        return share, torch.lerp(envelope, beside, share) + change / 2

    def settle(
        self, magnitude: torch.Tensor, phase: torch.Tensor
    ) -> torch.Tensor:
        """Bring phases in line with the magnitudes; make the wave."""
        before = torch.zeros_like(phase)
        for _ in range(self.passes):
            now = self.analyse(self.invert(magnitude * phase))
            phase, before = unit(now - MOMENTUM * before), now
        return self.invert(magnitude * phase)

    def analyse(self, wavs: torch.Tensor) -> torch.Tensor:
        """Spectra (B, M, bins) of (B, 320 N)."""
        length = len(self.window)
        frames = centred_frames(wavs, length, self.hop_length)
        return torch.fft.rfft(frames * self.window)

    def invert(self, spectra: torch.Tensor) -> torch.Tensor:
        """Waves (B, 320 N) of spectra (B, M, bins)."""
        return synthesise(spectra, self.window, self.hop_length)

    def envelope(
        self, magnitude: torch.Tensor, floor: float = FLOOR
    ) -> torch.Tensor:
        """Logarithms (B, M, 40) of the bands of (B, M, bins)."""
        power = (magnitude / self.level).square() @ self.bands
        return 0.5 * power.add(floor**2).log()

    def band_gain(self, change: torch.Tensor) -> torch.Tensor:
        """Gains of bins (B, M, bins) out of logarithms of bands' (B, M, 40)."""
        return change.exp().clamp(*GAINS) @ self.spread


def pair(decoded: torch.Tensor, noisy: torch.Tensor) -> torch.Tensor:
    """Join a decoded wave (320 N,) and the noisy one (T,) to (320 N, 2)."""
    noisy = fit_length(noisy, len(decoded)).to(decoded)
    return torch.stack([decoded, noisy], dim=-1)


def level_gain(envelope: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Factor (B, 1, 1) that brings another wave to the level of this one.

    Bands count for as much as they stand out of silence here, squared.

    Arguments
    ---------
    envelope, other : torch.Tensor
        (B, M, 40), natural logarithms.
    """
    weight = (
        (envelope - torch.tensor(FLOOR, dtype=torch.float32).log())
        .clamp(min=0)
        .square()
    )
    total = weight.sum((1, 2), keepdim=True).clamp(min=1e-3)
    change = (envelope - other) * weight
    return (change.sum((1, 2), keepdim=True) / total).exp()


def unit(spectra: torch.Tensor) -> torch.Tensor:
    """Divide complex numbers by their magnitudes; zeros stay zeros."""
    return spectra / spectra.abs().clamp(min=1e-12)
