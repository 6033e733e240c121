"""Spectra in real arithmetic, for ONNX has no complex numbers.

Within `RealSpectra`, the package's own code runs as it stands; transforms of
frames become products with two small matrices, complex bins become `Bins`, and
what the exporter would tie to one length is written so that any length will do.
"""

from types import SimpleNamespace

import torch
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from speechbrain_llase.processing.signal_processing import MIN_ENVELOPE


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
        return self.keep(longest_noise, self.longest)[:count]

    def rfft(self, frames: torch.Tensor, size: int | None = None) -> Bins:
        """Transform frames (..., W), zeros behind them up to `size`."""
        size = size or frames.shape[-1]
        short, long = factors(size)
        frames = pad(frames, (0, size - frames.shape[-1]))
        rows = frames.unflatten(-1, (short, long)).transpose(-1, -2)
        basis = self.keep(turns, short, short, short)
        rows = Bins(rows @ basis.real, rows @ basis.imag)
        rows = rows * self.keep(turns, long, short, size)
        rows = rows.transpose(-1, -2) @ self.keep(turns, long, long, long)
        bins = rows.transpose(-1, -2)
        kept = size // 2 + 1
        return Bins(
            *(x.flatten(-2)[..., :kept] for x in (bins.real, bins.imag))
        )

    def irfft(
        self, bins: Bins | torch.Tensor, size: int | None = None
    ) -> torch.Tensor:
        """Transform bins (..., W / 2 + 1), which may be real, to (..., W)."""
        size = size or 2 * (bins.real.shape[-1] - 1)
        if not isinstance(bins, Bins):
            bins = Bins(bins, torch.zeros_like(bins))
        short, long = factors(size)
        # of the conjugate, the transform forward is the one back
        bins = both_sides(Bins(bins.real / size, -bins.imag / size))
        rows = Bins(
            *(x.unflatten(-1, (long, short)) for x in (bins.real, bins.imag))
        )
        rows = rows.transpose(-1, -2) @ self.keep(turns, long, long, long)
        rows = rows * self.keep(turns, short, long, size)
        rows = rows.transpose(-1, -2)
        basis = self.keep(turns, short, short, short)
        rows = rows.real @ basis.real - rows.imag @ basis.imag
        return rows.transpose(-1, -2).flatten(-2)

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
        count = (x.shape[axis] - size) // step + 1
        places = torch.arange(count)[:, None] * step + torch.arange(size)
        frames = x.index_select(-1, places.flatten())
        return frames.unflatten(-1, (count, size))

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


def turns(rows: int, columns: int, size: int) -> Bins:
    """Roots of unity (rows, columns) of a transform of `size`, float32."""
    places = torch.arange(rows)[:, None] * torch.arange(columns)
    angle = places.remainder(size).double() * (2 * torch.pi / size)
    return Bins(angle.cos().float(), -angle.sin().float())


def both_sides(bins: Bins) -> Bins:
    """Append the negative frequencies of a real signal: (..., W)."""
    back = torch.arange(bins.real.shape[-1] - 2, 0, -1)
    real, imag = (x.index_select(-1, back) for x in (bins.real, bins.imag))
    return Bins(
        torch.cat([bins.real, real], -1), torch.cat([bins.imag, -imag], -1)
    )
