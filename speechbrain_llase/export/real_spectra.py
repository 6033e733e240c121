"""Spectra in real arithmetic, for ONNX has no complex numbers.

Within `RealSpectra`, the package's own code runs as it stands; transforms of
frames become products with two small matrices, complex bins become `Bins`, and
what the exporter would tie to one length is written so that any length will do.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import torch
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from speechbrain_llase.lobes.spectral_encoder import LOW_BINS, SPECTRUM_LENGTH
from speechbrain_llase.processing.framing import HOP_LENGTH
from speechbrain_llase.processing.signal_processing import (
    MIN_ENVELOPE,
    centred_frames,
)


class Bins:
    """Complex numbers as two real tensors of one shape."""

    def __init__(self, real: torch.Tensor, imag: torch.Tensor):
        self.real, self.imag = real, imag

    @property
    def shape(self) -> torch.Size:
        """Of either part."""
        return self.real.shape

    def __add__(self, other: "Bins") -> "Bins":
        return Bins(self.real + other.real, self.imag + other.imag)

    def __sub__(self, other: "Bins") -> "Bins":
        return Bins(self.real - other.real, self.imag - other.imag)

    def __mul__(self, other: "Bins | torch.Tensor") -> "Bins":
        if not isinstance(other, Bins):
            return Bins(self.real * other, self.imag * other)
        return Bins(
            self.real * other.real - self.imag * other.imag,
            self.real * other.imag + self.imag * other.real,
        )

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """Multiply a tensor with bins; of the rest `RealSpectra` takes care."""
        if func is not torch.Tensor.mul:
            return NotImplemented
        tensor, bins = args
        return bins * tensor

    def abs(self) -> torch.Tensor:
        """Magnitudes."""
        return (self.real.square() + self.imag.square()).sqrt()

    def angle(self) -> torch.Tensor:
        """Phases in radians."""
        return torch.atan2(self.imag, self.real)

    def transpose(self, *axes: int) -> "Bins":
        """Swap two axes."""
        return Bins(self.real.transpose(*axes), self.imag.transpose(*axes))

    def __matmul__(self, other: "Bins") -> "Bins":
        """Multiply with a matrix."""
        return Bins(
            self.real @ other.real - self.imag @ other.imag,
            self.real @ other.imag + self.imag @ other.real,
        )


class Lags:
    """The transform of real bins (..., bins), of which the first are asked for.

    Arguments
    ---------
    bins : torch.Tensor
        Such as powers, whose transform is the autocorrelation.
    basis : callable
        Gives the matrix (bins, count) of as many values.
    """

    def __init__(
        self, bins: torch.Tensor, basis: Callable[[int], torch.Tensor]
    ):
        self.bins, self.basis = bins, basis

    def __getitem__(self, wanted: slice | tuple) -> torch.Tensor:
        """Give `[:count]` or `[..., :count]`."""
        last = wanted[-1] if isinstance(wanted, tuple) else wanted
        return self.bins @ self.basis(last.stop)


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
        return lambda *key, **_: self.keep(make, *key)

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
            return Lags(bins, partial(self.keep, cosines, size, bins.dtype))
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
        x = pad(x, (0, hops * step - size))
        rows = x[..., : x.shape[-1] - x.shape[-1] % step]
        rows = rows.unflatten(-1, (-1, step))
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


def longest_noise(count: int) -> torch.Tensor:
    """Noise (count,), as `make_noise` draws it."""
    return torch.randn(count, generator=torch.Generator().manual_seed(0))


def factors(size: int) -> tuple[int, int]:
    """Split an even size in two factors, as near to one another as can be."""
    short = next(k for k in range(int(size**0.5), 0, -1) if size % k == 0)
    return short, size // short


def stages_of(size: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """The two matrix products that are a transform of real values.

    With two factors of the size, sample ``long * a + b`` has a part in bin
    ``c + short * d``. The first product, (2 short, short), goes from a to c,
    real parts before imaginary ones; the second, (short, 2 halves, 2 long),
    for each c from b to d, of which half are needed.
    """
    short, long = factors(size)
    a, b, c = torch.arange(short), torch.arange(long), torch.arange(short)
    d = torch.arange(long // 2 + 1)
    across = torch.cat(turn(c[:, None] * a, short))
    real, imag = turn(b * (c[:, None, None] + short * d[:, None]), size)
    along = torch.cat(
        [torch.cat([real, -imag], 2), torch.cat([imag, real], 2)], 1
    )
    return across.to(dtype), along.to(dtype)


def stages_back(size: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """The products that are the transform back, in their order reversed."""
    across, along = stages_of(size, torch.float64)
    short, long = factors(size)
    weights = pad(bin_weights(size), (0, -(size // 2 + 1) % short))
    weights = weights.unflatten(0, (-1, short)).t().repeat(1, 2)
    along = along.transpose(1, 2) * weights[:, None]
    return across.t().to(dtype), along.to(dtype)


def turn(places: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Real and imaginary parts of roots of unity, float64."""
    angle = places.remainder(size).double() * (2 * torch.pi / size)
    return angle.cos(), -angle.sin()


def bin_weights(size: int) -> torch.Tensor:
    """How often each bin of a real signal counts, over the size."""
    weights = torch.full((size // 2 + 1,), 2 / size, dtype=torch.float64)
    weights[0] = weights[-1] = 1 / size
    return weights


def cosines(size: int, dtype: torch.dtype, count: int) -> torch.Tensor:
    """Transform of real bins to the first values, (size / 2 + 1, count)."""
    places = torch.arange(size // 2 + 1)[:, None] * torch.arange(count)
    cosine = turn(places, size)[0]
    return (cosine * bin_weights(size)[:, None]).to(dtype)


def low_magnitudes(wavs: torch.Tensor) -> torch.Tensor:
    """The first of the stem's `magnitudes` of (B, 320 N), all that it reads."""
    window = torch.hann_window(SPECTRUM_LENGTH, dtype=torch.float32)
    frames = centred_frames(wavs, SPECTRUM_LENGTH, HOP_LENGTH) * window
    places = torch.arange(SPECTRUM_LENGTH)[:, None] * torch.arange(LOW_BINS)
    basis = torch.cat(turn(places, SPECTRUM_LENGTH), 1).float()
    both = (frames @ basis).square().unflatten(-1, (2, LOW_BINS))
    return both.sum(-2).sqrt()


def in_float64(function: Callable) -> Callable:
    """Let a function of tensors compute in float64, and give float32.

    A pulse lies where the periods before it add up to: what rounding does to a
    period, which PyTorch and ONNX round in other ways, is heard in all that
    follow.
    """

    def run(*given):
        found = function(*(x.double() for x in given))
        if isinstance(found, tuple):
            return tuple(x.float() for x in found)
        return found.float()

    return run
