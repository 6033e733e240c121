"""How much quieter a band became, over time: for what lies above it."""

import math

import torch

GAIN_SPAN = 640  # samples; 40 ms at 16 kHz
GAIN_HOP = 320  # samples; 20 ms
SPEECH_FROM = 60.0  # Hz; what lies below is no speech
AVERAGED = 5  # frames over which powers are averaged, an odd number
ALL = 1 << 60  # more samples than there are
FAINT = 1e-12  # mean power under which nothing is compared: -120 dBFS


class BandGain:
    """Gain of a result against its input, 50 times a second, at most 1.

    Of mean powers over a tenth of a second, without what lies under 60 Hz.
    Where neither holds anything the gain is 1. Memory does not grow.

    Arguments
    ---------
    rate : int
        Of both, Hz.

    Example
    -------
    >>> gain, noisy = BandGain(16000), torch.rand(16000, 1) - 0.5
    >>> gain.push(0.5 * noisy, noisy, last=True)
    >>> gain(torch.tensor([0.0, 8000.0])).T
    tensor([[0.5000, 0.5000]])
    """

    def __init__(self, rate: int):
        self.bin = math.ceil(
            SPEECH_FROM * GAIN_SPAN / rate
        )  # the first that counts
        self.heard = None  # (T, 2, C), in no whole frame yet
        self.powers = None  # (N, 2, C) of frames that are needed
        self.first = 0  # which of all frames that begins with
        self.known = 0  # samples before which the gain is known

    def push(
        self, wave: torch.Tensor, noisy: torch.Tensor, last: bool = False
    ) -> None:
        """Take the next samples of a result (T, C) and its input (T, C or 1)."""
        pair = torch.stack((wave, noisy.expand_as(wave)), 1)
        side = pair.new_zeros((GAIN_SPAN - GAIN_HOP) // 2, *pair.shape[1:])
        parts = [side if self.heard is None else self.heard, pair]
        if last:
            parts += [pair.new_zeros(GAIN_HOP, *pair.shape[1:]), side]
        heard = torch.cat(parts)
        count = max(0, (len(heard) - GAIN_SPAN) // GAIN_HOP + 1)
        self.heard = heard[count * GAIN_HOP :]
        found = self.measure(heard, count)
        powers = [found] if self.powers is None else [self.powers, found]
        self.powers = torch.cat(powers)
        frames = self.first + len(self.powers) - AVERAGED // 2 - 1
        self.known = ALL if last else GAIN_HOP * frames + GAIN_HOP // 2

    def measure(self, heard: torch.Tensor, count: int) -> torch.Tensor:
        """Mean powers (count, 2, C) of frames."""
        if not count:
            return heard[:0].double()
        frames = heard.unfold(0, GAIN_SPAN, GAIN_HOP)
        window = torch.hann_window(GAIN_SPAN, dtype=torch.float32)
        spectra = torch.fft.rfft(frames * window)[..., self.bin :]
        whole = GAIN_SPAN / 2 * float(window.square().sum())
        return spectra.abs().double().square().sum(-1) / whole

    def __call__(self, times: torch.Tensor) -> torch.Tensor:
        """Gain (T, C) at times in samples, float64 (T,), which grow."""
        if not len(times):
            return torch.zeros(0, 1)
        places = (times / GAIN_HOP - 0.5).clamp(min=0)
        at = places.floor().long()
        share = (places - at)[:, None]
        begin = max(0, int(at[0]) - AVERAGED // 2) - self.first
        self.powers = self.powers[begin:]
        self.first += begin
        curve = self.curve()
        before = (at - self.first).clamp(max=len(curve) - 1)
        after = (before + 1).clamp(max=len(curve) - 1)
        return ((1 - share) * curve[before] + share * curve[after]).float()

    def curve(self) -> torch.Tensor:
        """Gains (N, C) of the frames that are held."""
        mean = torch.nn.functional.avg_pool1d(
            self.powers.flatten(1).T[:, None],
            AVERAGED,
            1,
            AVERAGED // 2,
            count_include_pad=False,
        )[:, 0]
        ours, theirs = mean.T.view(self.powers.shape).unbind(1)
        return ((ours + FAINT) / (theirs + FAINT)).sqrt().clamp(max=1)
