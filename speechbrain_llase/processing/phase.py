"""Phases for spectra of speech of which only the magnitudes are known.

A decoder whose tokens say nothing of phase, and which knows no positions,
gives equal frames for equal tokens: of a steady vowel it can make no tones
but those of its frame rate. Magnitudes do not have that problem. Here their
pitch is read off frame by frame, a train of pulses runs at that pitch, with
noise where there is none and at the top of the spectrum, and its phases are
taken: those of a source-filter vocoder (McAulay and Quatieri, IEEE TASSP 34,
1986), without its filter. Every pulse is drawn out to a short chirp
(Schroeder, IEEE Trans. Inf. Theory 16, 1970): bare ones buzz.
"""

import torch
from torch.nn.functional import pad

from speechbrain_llase.processing.framing import SAMPLE_RATE
from speechbrain_llase.processing.hearing import in_float64
from speechbrain_llase.processing.signal_processing import centred_frames

PERIODS = (40, 267)  # of the pitch, in samples: 400 to 60 Hz
LOWEST_HZ, HIGHEST_HZ = 50, 1200  # of the spectrum that pitch is read from
SHORTER = 0.0006  # preference for periods shorter by a sample; or octaves win
STEADY = 2  # frames on both sides of the median of the periods
VOICED = 0.3  # autocorrelation at which pulses and noise are equally strong
SLOPE = 8.0  # of their mix over the autocorrelation
NOISY_HZ, NOISY_WIDTH_HZ = 4500, 300  # above, noise takes the pulses' place
CHIRP_S = 0.005  # between the lowest bin and the highest


def pitched_phases(
    magnitude: torch.Tensor, window: torch.Tensor, hop_length: int
) -> torch.Tensor:
    """Give the phases, in radians, of pulses at the pitch of the magnitudes.

    Magnitudes are float32 (B, N, W / 2 + 1), of the STFT of speech at 16 kHz
    by a window (W,). Frame n is centred on sample hop_length * (n + 0.5).
    Computed in float64: what rounding does to a period moves all that follows.
    """
    device, exact = magnitude.device, in_float64(window)
    period, strength = find_pitch(in_float64(magnitude), exact)
    noise = make_noise(period.shape[1] * hop_length).double()
    source, noise = (
        torch.fft.rfft(centred_frames(x, len(window), hop_length) * exact)
        for x in (
            make_source(period, strength, noise),
            noise.to(period.device).unsqueeze(0),
        )
    )
    hertz = bin_hertz(len(window), exact)
    noisy = torch.sigmoid((hertz - NOISY_HZ) / NOISY_WIDTH_HZ)
    spectra = (source + noisy * (noise - source)).to(device, torch.complex64)
    hertz = hertz.to(device, torch.float32)
    share = 2 * hertz / SAMPLE_RATE
    return spectra.angle() + torch.pi * CHIRP_S * hertz * (1 - share)


def find_pitch(
    magnitude: torch.Tensor, window: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find each frame's period by autocorrelation; see `pitched_phases`.

    Gives the period in samples, (B, N), and its strength: the
    normalised autocorrelation there, near 1 in a vowel, near 0 in noise and in
    silence.
    """
    lowest, highest = PERIODS
    own = correlate(magnitude, window)[..., lowest - 1 : highest + 2]
    beside = pad(own.transpose(1, 2), (1, 1), mode="replicate")
    beside = beside.transpose(1, 2)
    smooth = 0.25 * (beside[:, :-2] + 2 * own + beside[:, 2:])
    places = torch.arange(own.shape[2], device=own.device).to(own.dtype)
    ranked = smooth - SHORTER * places
    best = ranked[..., 1:-1].argmax(-1) + 1
    best = pad(best.to(own.dtype), (STEADY, STEADY), mode="replicate")
    best = best.unfold(1, 2 * STEADY + 1, 1).median(-1).values.long()
    before, at, after = (
        smooth.gather(-1, (best + shift).unsqueeze(-1)).squeeze(-1)
        for shift in (-1, 0, 1)
    )
    bend = before - 2 * at + after  # of the parabola through the three
    peak = (0.5 * (before - after) / bend.clamp(max=-1e-6)).clamp(-1, 1)
    peak = torch.where(bend < 0, peak, 0)
    strength = own.gather(-1, best.unsqueeze(-1)).squeeze(-1)
    return lowest - 1 + best + peak, strength


def correlate(magnitude: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """Normalised autocorrelation (B, N, lags) of frames, by their spectrum."""
    size = len(window)
    hertz = bin_hertz(size, window)
    band = (hertz > LOWEST_HZ) / (1 + (hertz / HIGHEST_HZ) ** 4)
    lags = torch.fft.irfft((magnitude * band).square(), size)
    lags = lags[..., : PERIODS[1] + 2]
    taper = torch.fft.rfft(window, 2 * size).abs().square()
    taper = torch.fft.irfft(taper)[: lags.shape[-1]]
    lags = lags * (taper[0] / taper)  # the window's share is divided out
    return lags / (lags[..., :1] + 1e-6)


def bin_hertz(size: int, like: torch.Tensor) -> torch.Tensor:
    """Frequencies (size / 2 + 1,) of a spectrum's bins, beside a tensor."""
    kind = {"dtype": like.dtype, "device": like.device}
    return torch.fft.rfftfreq(size, 1 / SAMPLE_RATE, **kind)


def make_source(
    period: torch.Tensor, strength: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Make pulses at a period that changes from frame to frame, and noise.

    Periods and strengths are (B, N), see `find_pitch`; the noise is
    (N * hop_length,), of unit power, on the CPU, and of their dtype. Gives
    (B, N * hop_length), of unit power.
    """
    device, count = period.device, period.shape[1]
    period, strength = period.cpu(), strength.cpu()  # MPS has no float64
    place = torch.arange(noise.shape[0]).to(period.dtype) + 0.5
    place = (place / (noise.shape[0] // count) - 0.5).clamp(0, count - 1)
    left = place.long()
    right, part = (left + 1).clamp(max=count - 1), place - left
    strength = torch.lerp(strength[:, left], strength[:, right], part)
    rate = 1 / period  # cycles a sample
    rate = torch.lerp(rate[:, left], rate[:, right], part).double()
    cycles = rate.cumsum(1)
    whole = cycles.floor()
    begins = pad(whole[:, 1:] > whole[:, :-1], (1, 0))
    late = torch.where(begins, (cycles - whole) / rate, 0)  # samples
    late = late.to(period.dtype)
    height = torch.where(begins, rate.rsqrt(), 0).to(period.dtype)
    pulses = height * (1 - late)  # each pulse lies between two samples
    pulses = pulses + pad(height * late, (0, 1))[:, 1:]
    voiced = torch.sigmoid(SLOPE * (strength - VOICED))
    return (pulses * voiced + noise * (1 - voiced)).to(device)


def make_noise(num_samples: int) -> torch.Tensor:
    """White noise (num_samples,) of unit power: the same on every machine."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(num_samples, generator=draw, dtype=torch.float32)
