"""What tells made speech from real speech, for the predictive half to learn from.

A network that learns from squared errors alone makes the mean of what speech
could be: dull, and with what is left of the noise. Judges of patches of
compressed spectrograms (least squares, Mao et al., arXiv:1611.04076; inner
maps compared as in HiFi-GAN, Kong et al., arXiv:2010.05646) pull it to what
speech is.
"""

import torch
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

POWER = 0.15  # of a power spectrum: 0.3 of a magnitude
LEAK = 0.2  # of the leaky rectifiers
MAPS = 3  # inner maps that are compared


class SpectralJudge(torch.nn.Module):
    """Score patches of a spectrogram: 1 is real, 0 is made.

    Arguments
    ---------
    window_length, hop_length : int
        In samples.
    strides : sequence of (int, int)
        Of four convolutions, over frames and bins.
    channels : sequence of int
        Of the same.
    """

    def __init__(
        self, window_length, hop_length, strides, channels=(16, 32, 64, 64)
    ):
        super().__init__()
        self.hop_length = hop_length
        window = torch.hann_window(window_length)
        self.register_buffer("window", window, persistent=False)
        self.layers, size = torch.nn.ModuleList(), 1
        for stride, wider in zip(strides, channels, strict=True):
            width = 5 if len(self.layers) else 7
            conv = torch.nn.Conv2d(
                size, wider, (3, width), stride, (1, width // 2)
            )
            self.layers.append(weight_norm(conv))
            size = wider
        self.place = torch.nn.Parameter(torch.zeros(1, channels[0], 1, 1))
        self.last = weight_norm(torch.nn.Conv2d(size, 1, 3, padding=1))
        self.to(memory_format=torch.channels_last)

    def forward(self, waves):
        """Score (B, T); return scores and inner maps, (B, C, N, bins) each."""
        spectra = torch.stft(
            waves,
            len(self.window),
            self.hop_length,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        ).transpose(1, 2)
        power = spectra.real.square() + spectra.imag.square()
        hidden = (power + 1e-7).pow(POWER).unsqueeze(1)
        hidden = hidden.contiguous(memory_format=torch.channels_last)
        maps = []
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden)
            if index == 0:  # where in the spectrum a patch lies
                bins = torch.linspace(-1, 1, hidden.shape[3])
                hidden = hidden + self.place * bins.to(hidden.device)
            hidden = F.leaky_relu(hidden, LEAK)
            maps.append(hidden)
        return self.last(hidden).float(), maps


class Adversary(torch.nn.Module):
    """Judges, what they learn from, and what they say.

    Arguments
    ---------
    judges : list of SpectralJudge
    maps_weight : float
        Of the distance between inner maps.
    share : float
        Size of its gradient at the wave, over that of the other loss.
    rows : int
        Items of a batch that are judged.
    """

    def __init__(self, judges, maps_weight, share, rows):
        super().__init__()
        self.judges = torch.nn.ModuleList(judges)
        self.maps_weight, self.share, self.rows = maps_weight, share, rows
        self.register_buffer("balance", torch.zeros(()))

    def loss(self, made, real):
        """What the judges learn from, and their maps of real speech (B, T)."""
        total, maps = 0, []
        for judge in self.judges:
            scores, seen = judge(real[: self.rows])
            drawn, _ = judge(made[: self.rows].detach())
            total = total + (1 - scores).square().mean() + drawn.square().mean()
            maps.append([x.detach().float() for x in seen[:MAPS]])
        return total, maps

    def opinion(self, made, maps):
        """What the maker learns from: how made its waves look."""
        total = 0
        for judge, real in zip(self.judges, maps, strict=True):
            scores, seen = judge(made[: self.rows])
            total = total + (1 - scores).square().mean()
            for ours, theirs in zip(seen[:MAPS], real, strict=True):
                error = (ours.float() - theirs).abs().mean()
                error = error / (theirs.abs().mean() + 1e-3)
                total = total + self.maps_weight / MAPS * error
        return total

    def settle_balance(self, opinion, loss, made):
        """Follow how much larger the gradient of the loss at the wave is."""
        first, second = (
            torch.autograd.grad(x, made, retain_graph=True)[0].norm()
            for x in (loss, opinion)
        )
        ratio = first / (second + 1e-9)
        old = self.balance if self.balance > 0 else ratio
        self.balance.copy_(0.9 * old + 0.1 * ratio)
