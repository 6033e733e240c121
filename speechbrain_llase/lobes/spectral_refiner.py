"""SpectralRefiner: a predictive network beside the generative one.

A decoded wave sounds like speech and may say other words; the noisy wave says
the right ones in noise. This network sees the spectra of both and estimates
magnitudes and phases of the clean speech: a mask on the noisy spectrum and a
share of the decoded magnitude, where the noisy one does not hold the speech;
there phases follow the decoded wave, too, or the two would not fit.
Convolutions halve the bins three times; between them and their mirror, blocks
look along frequency and along time (the dual path of DPCRN, Le et al.,
arXiv:2107.05429; one matrix a channel across all bands as in SpatialNet, Quan
and Li, arXiv:2307.16516). Waves are made as in two rounds of Griffin and Lim
(1984), at twice the frames: decisions between two frames are their mean.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from speechbrain_llase.nnet.packing import each_run, pack, unpack
from speechbrain_llase.nnet.precision import hold_weights
from speechbrain_llase.processing.hearing import hear

COMPRESSION = 0.3  # that compresses magnitudes
LEAST_POWER = 1e-10  # of a power spectrum
TOP = 1.2  # largest factor on a compressed magnitude
ROUNDS = 2  # in which phases of the result come to fit one another
SEEN = 6  # of two spectra: compressed magnitude, real and imaginary part
MIN_BINS = 8  # halvings of the frequency axis: 2 ** 3


class SpectralRefiner(torch.nn.Module):
    """Estimate clean speech from the noisy wave and a decoded one.

    Arguments
    ---------
    window_length : int
        Samples of the STFT's window, the root of a Hann window; the hop is a
        quarter of it, and the network decides at every other frame. A
        multiple of 16.
    channels : sequence of int
        Of the three convolutions.
    band_size : int
        Channels that look along frequency.
    time_size : int
        Units of the LSTM along time, in each direction.
    num_blocks : int
        Blocks of both.
    full_size : int
        Units of the LSTM that sees all bands at once, in each direction.
    full_channels : int
        Channels of each band that it sees.
    full_blocks : int
        Blocks, from the first on, that have such an LSTM.
    post_filter : float
        Gains under 1 are raised to the power of 1 + this: what was taken for
        noise fades further. 0 in training.
    compute : str
        What layers compute in: float32, bfloat16, int8 (here bfloat16, too)
        or auto; see precision.py. Weights and spectra stay in float32.

    Example
    -------
    >>> refiner = SpectralRefiner(64, (4, 6, 8), 4, 4, 1, 8, 2)
    >>> refiner(torch.rand(1, 3200), torch.rand(1, 3200)).shape
    torch.Size([1, 3200])
    """

    keeps_level = True  # its waves are as loud as the speech in the input
    as_trained = 0.5  # of `generative`: what the network makes of both waves

    def __init__(
        self,
        window_length: int,
        channels: Sequence[int],
        band_size: int,
        time_size: int,
        num_blocks: int,
        full_size: int,
        full_channels: int,
        full_blocks: int = 1,
        post_filter: float = 0.0,
        compute: str = "float32",
    ):
        super().__init__()
        if window_length % (2 * MIN_BINS):
            raise ValueError(
                f"window_length={window_length} must be a multiple of "
                f"{2 * MIN_BINS}: the bins are halved three times."
            )
        first, second, third = channels
        self.hop_length, self.post_filter = window_length // 4, post_filter
        window = torch.hann_window(window_length).sqrt()
        self.register_buffer("window", window, persistent=False)
        bands = window_length // 2 // MIN_BINS
        self.down = torch.nn.ModuleList(
            [
                Down(SEEN, first, 6),
                Down(first, second, 4),
                Down(second, third, 4),
            ]
        )
        self.place = torch.nn.Parameter(torch.zeros(1, 1, bands, third))
        self.blocks = torch.nn.ModuleList()
        for block in range(num_blocks):
            self.blocks.append(BandMixer(third, bands, band_size))
            self.blocks.append(TimeLSTM(third, time_size))
            if block < full_blocks:
                full = FullBandLSTM(third, bands, full_channels, full_size)
                self.blocks.append(full)
        self.skips = torch.nn.ModuleList(
            torch.nn.Conv2d(size, size, 1) for size in (third, second, first)
        )
        self.up = torch.nn.ModuleList(
            [Up(third, second), Up(second, first), Up(first, SEEN, last=True)]
        )
        self.to(memory_format=torch.channels_last)
        kept = tuple(name for name, _ in self.named_modules())
        self.compute = hold_weights(self, compute, kept)

    def forward(
        self,
        decoded: torch.Tensor,
        noisy: torch.Tensor,
        generative: float = as_trained,
    ) -> torch.Tensor:
        """Refine waves.

        Arguments
        ---------
        decoded : torch.Tensor
            float32 (B, T), at any level; zeros where there is none.
        noisy : torch.Tensor
            float32 (B, T), at any level; 16 kHz, T at least 400.
        generative : float
            0 to 1: how much the decoded wave says; see `turn`.

        Returns
        -------
        wavs : torch.Tensor
            float32 (B, T), at the level of the speech in noisy.
        """
        heard, gain = hear(noisy)
        lower = self.compute != "float32"
        with torch.autocast(noisy.device.type, torch.bfloat16, lower):
            magnitude, phase = self.turn(decoded, heard, generative)
        return self.synthesise(magnitude, phase, noisy.shape[1]) / gain

    def refine_each(
        self, pairs: list[torch.Tensor], generative: float = as_trained
    ) -> list[torch.Tensor]:
        """Refine pairs of any lengths, without padding.

        Arguments
        ---------
        pairs : list of torch.Tensor
            float32 (T, 2) each: the decoded wave and the noisy one.
        generative : float
            As for `forward`.

        Returns
        -------
        wavs : list of torch.Tensor
            float32 (T,) each.
        """
        rows, runs = pack(pairs)

        def refine(both):
            return self(*both.unbind(-1), generative)

        return unpack(each_run(refine, rows.float(), runs), runs)

    def turn(
        self, decoded: torch.Tensor, heard: torch.Tensor, generative: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Estimate spectra between what was heard and what was decoded.

        At 0 the network sees the noisy wave alone, at 0.5 both, as it was
        trained; at 1 it is the decoded wave, at the level of what the network
        made of both. Between, compressed magnitudes are blended, and phases
        are those of the sum.

        Arguments
        ---------
        decoded, heard : torch.Tensor
            As for `estimate`.
        generative : float
            0 to 1.

        Returns
        -------
        magnitude, phase : torch.Tensor
            As those of `estimate`.
        """
        magnitude, phase = self.estimate(decoded, heard)
        if generative == self.as_trained:
            return magnitude, phase
        share = abs(generative / self.as_trained - 1)
        if generative < self.as_trained:
            nothing = torch.zeros_like(decoded)
            other, turned = self.estimate(nothing, heard)
        else:
            spectra = self.analyse(decoded)
            drawn = power_of(spectra)
            turned = spectra * drawn.rsqrt()
            drawn = drawn * power_gain(drawn, magnitude ** (2 / COMPRESSION))
            other = drawn ** (COMPRESSION / 2)
        kept, taken = (1 - share) * magnitude, share * other
        return kept + taken, unit_phase(kept * phase + taken * turned)

    def estimate(
        self, decoded: torch.Tensor, heard: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Estimate spectra, to train on them.

        Arguments
        ---------
        decoded : torch.Tensor
            float32 (B, T), at any level.
        heard : torch.Tensor
            float32 (B, T), the noisy wave out of `hear`.

        Returns
        -------
        magnitude : torch.Tensor
            float32 (B, N, bins), compressed to the power of 0.3.
        phase : torch.Tensor
            complex64 (B, N, bins), of magnitude 1.
        """
        theirs, ours = self.analyse(heard), self.analyse(decoded)
        power, drawn = power_of(theirs), power_of(ours)
        phase, turned = theirs * power.rsqrt(), ours * drawn.rsqrt()
        drawn = drawn * power_gain(drawn, power)
        loud, beside = power ** (COMPRESSION / 2), drawn ** (COMPRESSION / 2)
        seen = [loud, loud * phase.real, loud * phase.imag]
        seen += [beside, beside * turned.real, beside * turned.imag]
        change = self.decide(torch.stack(seen, -1)[:, ::2, :-1])
        change = torch.cat([change, change[:, :, -1:]], 2)  # the last bin
        change = with_halfway(change)[:, : loud.shape[1]]
        keep, add, *parts = change.unbind(-1)
        magnitude = TOP * torch.sigmoid(keep) * loud
        magnitude = magnitude + TOP * torch.sigmoid(add) * beside
        if self.post_filter:
            gain = (magnitude / loud).clamp(max=1)
            magnitude = magnitude * gain**self.post_filter
        own, other = (
            torch.complex(1 + parts[0], parts[1]),
            torch.complex(*parts[2:]),
        )
        return magnitude, unit_phase(phase * own + turned * other)

    def decide(self, seen: torch.Tensor) -> torch.Tensor:
        """Map what is seen (B, N, bins - 1, 6) to decisions of that shape."""
        hidden, kept = seen.permute(0, 3, 1, 2), []  # channels last
        for down in self.down:
            hidden = down(hidden)
            kept.append(hidden)
        rows = hidden.permute(0, 2, 3, 1) + self.place  # (B, N, bands, C)
        for block in self.blocks:
            rows = rows + block(rows)
        hidden = rows.permute(0, 3, 1, 2)
        for up, skip in zip(self.up, self.skips, strict=True):
            hidden = up(hidden + skip(kept.pop()))
        return hidden.permute(0, 2, 3, 1).float()

    def analyse(self, wavs: torch.Tensor) -> torch.Tensor:
        """Spectra (B, N, bins) of (B, T)."""
        spectra = torch.stft(
            wavs,
            len(self.window),
            self.hop_length,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )
        return spectra.transpose(1, 2)

    def synthesise(
        self, magnitude: torch.Tensor, phase: torch.Tensor, num_samples: int
    ) -> torch.Tensor:
        """Waves (B, T) of compressed magnitudes and unit phases.

        No wave has such a spectrum; that of the nearest one is weaker where
        phases of neighbours do not fit. Its phases do fit: with them the
        magnitudes come closer to what was asked for.
        """
        magnitude = (magnitude + 1e-6) ** (1 / COMPRESSION)
        for _ in range(ROUNDS):
            nearest = self.invert(magnitude * phase, num_samples)
            phase = unit_phase(self.analyse(nearest))
        return self.invert(magnitude * phase, num_samples)

    def invert(self, spectra: torch.Tensor, num_samples: int) -> torch.Tensor:
        """The waves (B, T) whose spectra are nearest to (B, N, bins)."""
        return torch.istft(
            spectra.transpose(1, 2),
            len(self.window),
            self.hop_length,
            window=self.window,
            length=num_samples,
        )


class Down(torch.nn.Sequential):
    """Convolution over 3 frames and some bins that halves the bins."""

    def __init__(self, size_in: int, size_out: int, width: int):
        super().__init__(
            torch.nn.Conv2d(
                size_in,
                size_out,
                (3, width),
                stride=(1, 2),
                padding=(1, (width - 1) // 2),
                bias=False,
            ),
            torch.nn.BatchNorm2d(size_out),
            torch.nn.SiLU(),
        )


class Up(torch.nn.Module):
    """Convolution that doubles the bins: two channels become two bins."""

    def __init__(self, size_in: int, size_out: int, last: bool = False):
        super().__init__()
        self.size = size_out
        self.conv = torch.nn.Conv2d(
            size_in, 2 * size_out, 3, padding=1, bias=last
        )
        self.norm = None if last else torch.nn.BatchNorm2d(size_out)
        if last:  # begin with most of the noisy wave, little of the other
            torch.nn.init.zeros_(self.conv.weight)
            start = torch.tensor([1.0, -2.0, 0.0, 0.0, 0.0, 0.0])
            self.conv.bias.data = start.repeat(2)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (B, C, N, bins) to (B, size_out, N, 2 bins)."""
        rows = self.conv(hidden).permute(0, 2, 3, 1)
        rows = rows.unflatten(3, (2, self.size)).flatten(2, 3)
        hidden = rows.permute(0, 3, 1, 2)
        return hidden if self.norm is None else F.silu(self.norm(hidden))


class BandMixer(torch.nn.Module):
    """Look along frequency: one matrix a channel over all bands."""

    def __init__(self, size: int, bands: int, inner: int):
        super().__init__()
        self.norm = torch.nn.LayerNorm(size)
        self.squeeze = torch.nn.Linear(size, inner)
        scale = bands**-0.5
        self.matrices = torch.nn.Parameter(
            torch.empty(inner, bands, bands).uniform_(-scale, scale)
        )
        self.expand = torch.nn.Linear(2 * inner, size)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map (B, N, bands, C) to the same."""
        inner = F.silu(self.squeeze(self.norm(rows)))
        lines = inner.permute(3, 0, 1, 2)  # one a channel
        mixed = torch.bmm(lines.flatten(1, 2), self.matrices.to(inner.dtype))
        mixed = mixed.unflatten(1, lines.shape[1:3]).permute(1, 2, 3, 0)
        return self.expand(torch.cat([F.silu(mixed), inner], -1))


class TimeLSTM(torch.nn.Module):
    """Look along time, each band alone."""

    def __init__(self, size: int, units: int):
        super().__init__()
        self.norm = torch.nn.LayerNorm(size)
        self.lstm = torch.nn.LSTM(size, units, bidirectional=True)
        self.expand = torch.nn.Linear(2 * units, size)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map (B, N, bands, C) to the same."""
        lines = self.norm(rows).transpose(0, 1)  # time first
        out = self.expand(self.lstm(lines.flatten(1, 2))[0])
        return out.unflatten(1, lines.shape[1:3]).transpose(0, 1)


class FullBandLSTM(torch.nn.Module):
    """Look along time at a few channels of all bands at once."""

    def __init__(self, size: int, bands: int, inner: int, units: int):
        super().__init__()
        self.norm = torch.nn.LayerNorm(size)
        self.squeeze = torch.nn.Linear(size, inner)
        self.lstm = torch.nn.LSTM(inner * bands, units, bidirectional=True)
        self.spread = torch.nn.Linear(2 * units, inner * bands)
        self.expand = torch.nn.Linear(inner, size)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map (B, N, bands, C) to the same."""
        inner = self.squeeze(self.norm(rows)).transpose(0, 1)  # time first
        out = F.silu(self.spread(self.lstm(inner.flatten(2))[0]))
        return self.expand(out.view_as(inner)).transpose(0, 1)


def with_halfway(rows: torch.Tensor) -> torch.Tensor:
    """Rows (B, N, ...) and, behind each, what lies halfway to the next."""
    halfway = (rows + torch.cat([rows[:, 1:], rows[:, -1:]], 1)) / 2
    return torch.stack([rows, halfway], 2).flatten(1, 2)


def power_of(spectra: torch.Tensor) -> torch.Tensor:
    """Powers of complex bins, none of them 0."""
    return spectra.real.square() + spectra.imag.square() + LEAST_POWER


def power_gain(drawn: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
    """Factor (B, 1, 1) that brings one power spectrum to another's level.

    The strongest bins decide, where noise adds little: a least squares fit.
    Silence gets a factor near 0.
    """
    fit = (drawn * power).sum((1, 2), keepdim=True)
    return fit / drawn.square().sum((1, 2), keepdim=True).clamp(min=1e-6)


def unit_phase(spectra: torch.Tensor) -> torch.Tensor:
    """Divide complex numbers by their magnitudes."""
    square = spectra.real.square() + spectra.imag.square()
    return spectra * torch.rsqrt(square + 1e-8)
