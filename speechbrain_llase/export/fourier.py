"""Fourier transforms as matrix products: constants, and what they give."""

from collections.abc import Callable

import torch
from torch.nn.functional import pad


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

    def to(self, *_) -> "Bins":
        """Turn into float32 parts."""
        return Bins(self.real.float(), self.imag.float())

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


def bin_cosines(size: int, dtype: torch.dtype, count: int) -> torch.Tensor:
    """Transform of real bins to the first values, (size / 2 + 1, count)."""
    places = torch.arange(size // 2 + 1)[:, None] * torch.arange(count)
    cosine = turn(places, size)[0]
    return (cosine * bin_weights(size)[:, None]).to(dtype)
