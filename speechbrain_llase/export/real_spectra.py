"""Spectra in real arithmetic, for ONNX has no complex numbers.

Within `RealSpectra`, the package's own code runs as it stands; transforms of
frames become products with two small matrices, complex bins become `Bins`, and
what the exporter would tie to one length is written so that any length will do.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from speechbrain_llase.export.fourier import (
    Bins,
    Lags,
    bin_cosines,
    factors,
    stages_back,
    stages_of,
    turn,
)
from speechbrain_llase.lobes.spectral_encoder import LOW_BINS, SPECTRUM_LENGTH
from speechbrain_llase.processing.framing import HOP_LENGTH
from speechbrain_llase.processing.signal_processing import (
    MIN_ENVELOPE,
    centred_frames,
)


class RealSpectra(TorchFunctionMode):
    """Do in real arithmetic what torch does in complex numbers.

    Constants (windows, bases, noise) are kept when they are first needed:
    run a network once before it is exported, and they are part of the graph.

    Arguments
    ---------
    longest : int
        Samples of the longest wave, for which noise is drawn.
    """

    def __init__(self, longest: int):
        super().__init__()
        self.longest, self.kept = longest, {}
        self.instead = {
            torch.fft.rfft: self.rfft,
            torch.fft.irfft: self.irfft,
            torch.stft: self.stft,
            torch.istft: self.istft,
            torch.polar: lambda size, phase: Bins(
                size * phase.cos(), size * phase.sin()
            ),
            torch.complex: Bins,
            torch.hann_window: self.constant(torch.hann_window),
            torch.fft.rfftfreq: self.constant(torch.fft.rfftfreq),
            torch.randn: self.randn,
            torch.lerp: lambda start, end, part: torch.lerp(
                start, end, part.to(start.dtype)
            ),
            torch.Tensor.unfold: self.unfold,
            torch.Tensor.median: self.median,
            torch.Tensor.split: self.split,
        }

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return self.instead.get(func, func)(*args, **(kwargs or {}))

    def keep(self, make, *key):
        """Make a constant when it is first asked for."""
        found = self.kept.get((make, *key))
        if found is None:
            found = self.kept[make, *key] = make(*key)
        return found

    def constant(self, make):
        """Give the function that keeps what another makes of a few numbers."""

        def give(*key, dtype=None, **_):
            return self.keep(of_type, dtype, make, *key)

        return give

    def randn(self, count: int, **_) -> torch.Tensor:
        """Draw as `make_noise` does: its noise begins alike at any length."""
        noise = self.keep(longest_noise, self.longest)
        return noise.index_select(0, torch.arange(count))

    def rfft(self, frames: torch.Tensor, size: int | None = None) -> Bins:
        """Transform frames (..., W), zeros behind them up to `size`."""
        size = size or frames.shape[-1]
        short, long = factors(size)
        across, along = self.keep(stages_of, size, frames.dtype)
        rows = pad(frames, (0, -frames.shape[-1] % long))
        rows = rows.reshape(-1, rows.shape[-1]).t().unflatten(0, (-1, long))
        rows = across[:, : rows.shape[0]] @ rows.flatten(1)
        rows = rows.unflatten(0, (2, short)).unflatten(2, (long, -1))
        rows = along @ rows.transpose(0, 1).flatten(1, 2)
        rows = rows.unflatten(1, (2, -1)).permute(1, 2, 0, 3).flatten(1, 2)
        shape = *frames.shape[:-1], size // 2 + 1
        return Bins(*(x[: shape[-1]].t().reshape(shape) for x in rows))

    def irfft(
        self, bins: Bins | torch.Tensor, size: int | None = None
    ) -> torch.Tensor | Lags:
        """Transform bins (..., W / 2 + 1) to (..., W); real ones to `Lags`."""
        size = size or 2 * (bins.shape[-1] - 1)
        if not isinstance(bins, Bins):
            return Lags(bins, partial(self.keep, bin_cosines, size, bins.dtype))
        short, long = factors(size)
        across, along = self.keep(stages_back, size, bins.real.dtype)
        parts = [
            pad(x.flatten(0, -2).t(), (0, 0, 0, -x.shape[-1] % short))
            for x in (bins.real, bins.imag)
        ]
        parts = [x.unflatten(0, (-1, short)).transpose(0, 1) for x in parts]
        rows = (along @ torch.cat(parts, 1)).unflatten(1, (2, long))
        rows = across @ rows.transpose(0, 1).flatten(0, 1).flatten(1)
        rows = rows.unflatten(1, (long, -1)).flatten(0, 1)
        return rows.t().reshape(*bins.shape[:-1], size)

    def stft(self, wavs, n_fft: int, hop_length: int, window, **_) -> Bins:
        """Spectra (B, bins, N) of (B, T), with zeros around it."""
        padded = pad(wavs, (n_fft // 2, n_fft // 2))
        frames = self.unfold(padded, -1, n_fft, hop_length) * window
        return self.rfft(frames).transpose(1, 2)

    def istft(
        self, bins, n_fft: int, hop_length: int, window, length
    ) -> torch.Tensor:
        """Waves (B, T) of spectra (B, bins, N), the inverse of `stft`."""
        frames = self.irfft(bins.transpose(1, 2), n_fft) * window
        power = window.square().expand(1, frames.shape[1], -1)
        wavs, envelope = (add_frames(x, hop_length) for x in (frames, power))
        wavs = wavs / envelope.clamp(min=MIN_ENVELOPE)
        return wavs[:, n_fft // 2 :][:, :length]

    def unfold(self, x, axis: int, size: int, step: int) -> torch.Tensor:
        """Cut the last axis into frames: (..., N, size)."""
        hops = -(-size // step)  # that a frame covers
        missing = hops * step - size
        if not statically_known_true((x.shape[axis] + missing) % step == 0):
            count = (x.shape[axis] - size) // step + 1
            places = torch.arange(count)[:, None] * step + torch.arange(size)
            frames = x.index_select(-1, places.flatten())
            return frames.unflatten(-1, (count, size))
        rows = pad(x, (0, missing)).unflatten(-1, (-1, step))
        parts = []
        for hop in range(hops):
            last = min(step, size - hop * step)
            stop = rows.shape[-2] - (hops - 1 - hop)
            parts.append(rows[..., hop:stop, :last])
        return torch.cat(parts, -1)

    def median(self, x: torch.Tensor, axis: int) -> SimpleNamespace:
        """Find the median of an odd number of values."""
        middle = x.shape[axis] // 2
        return SimpleNamespace(values=x.sort(axis).values[..., middle])

    def split(self, rows, sizes, dim: int = 0) -> tuple[torch.Tensor, ...]:
        """Leave the rows of a single window together."""
        if isinstance(sizes, list) and len(sizes) == 1:
            return (rows,)
        return torch.Tensor.split(rows, sizes, dim)


def add_frames(frames: torch.Tensor, hop: int) -> torch.Tensor:
    """Do what `overlap_add` does, without writing into a tensor."""
    parts = frames.unflatten(2, (-1, hop)).unbind(2)
    last = len(parts) - 1
    shifted = [pad(x, (0, 0, k, last - k)) for k, x in enumerate(parts)]
    return sum(shifted[1:], shifted[0]).flatten(1)


def of_type(dtype: torch.dtype | None, make: Callable, *key) -> torch.Tensor:
    """Make a constant of a type."""
    return make(*key, dtype=dtype)


def longest_noise(count: int) -> torch.Tensor:
    """Noise (count,), as `make_noise` draws it."""
    return torch.randn(count, generator=torch.Generator().manual_seed(0))


def low_magnitudes(wavs: torch.Tensor) -> torch.Tensor:
    """The first of the stem's `magnitudes` of (B, 320 N), all that it reads."""
    window = torch.hann_window(SPECTRUM_LENGTH, dtype=torch.float32)
    frames = centred_frames(wavs, SPECTRUM_LENGTH, HOP_LENGTH) * window
    places = torch.arange(SPECTRUM_LENGTH)[:, None] * torch.arange(LOW_BINS)
    basis = torch.cat(turn(places, SPECTRUM_LENGTH), 1).float()
    both = (frames @ basis).square().unflatten(-1, (2, LOW_BINS))
    return both.sum(-2).sqrt()
