"""Discriminators that teach a decoder what speech is like, and their game.

Authors
 * The speechbrain_llase contributors 2026
"""

import torch
from torch.nn.functional import l1_loss, leaky_relu, pad

SLOPE = 0.1  # of the leaky rectifiers
LOUDNESS = 0.3  # power to which spectral magnitudes are raised
ACTIVE = 0.05  # RMS of speech at -26 dBFS, to which waves are relative

weight_norm = torch.nn.utils.parametrizations.weight_norm


class STFTDiscriminator(torch.nn.Module):
    """Judge a wave by its complex spectrogram at one window length.

    A small form of the discriminators of Defossez et al., arXiv:2210.13438.
    Magnitudes are raised to the power 0.3, phases stay: in plain spectra the
    strongest few harmonics hide everything else.

    Arguments
    ---------
    window : int
        Window length in samples; the hop is a quarter of it.
    channels : int
        Channels of the hidden layers.

    Example
    -------
    >>> scores, maps = STFTDiscriminator(64, 4)(torch.rand(2, 1600))
    >>> scores.shape[0], len(maps)
    (2, 4)
    """

    def __init__(self, window: int, channels: int):
        super().__init__()
        self.window = window
        layers = [weight_norm(conv(2, channels, (3, 9), stride=(1, 4)))]
        for dilation in (1, 2, 4):
            layer = conv(
                channels,
                channels,
                (3, 5),
                stride=(1, 2),
                dilation=(dilation, 1),
            )
            layers.append(weight_norm(layer))
        self.layers = torch.nn.ModuleList(layers)
        self.score = weight_norm(conv(channels, 1, (3, 3)))

    def forward(
        self, wavs: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Score (B, T); returns scores (B, 1, frames, bins) and the maps."""
        spectrum = torch.stft(
            wavs.float() / ACTIVE,
            self.window,
            self.window // 4,
            window=torch.hann_window(self.window, device=wavs.device),
            normalized=True,
            return_complex=True,
        )
        size = spectrum.abs().clamp(min=1e-4)
        spectrum = spectrum * size ** (LOUDNESS - 1)
        hidden = torch.view_as_real(spectrum).permute(0, 3, 2, 1)
        maps = []
        for layer in self.layers:
            hidden = leaky_relu(layer(hidden), SLOPE)
            maps.append(hidden)
        return self.score(hidden), maps


class PeriodDiscriminator(torch.nn.Module):
    """Judge every p-th sample of a wave, for one period p.

    A small form of the discriminators of Kong et al., arXiv:2010.05646.

    Arguments
    ---------
    period : int
        In samples; primes overlap least.
    channels : int
        Channels of the first layer; the next have 4, 8 and 8 times as many.

    Example
    -------
    >>> scores, maps = PeriodDiscriminator(3, 4)(torch.rand(2, 1600))
    >>> scores.shape[0], len(maps)
    (6, 4)
    """

    def __init__(self, period: int, channels: int):
        super().__init__()
        self.period = period
        widths = [1, channels, 4 * channels, 8 * channels, 8 * channels]
        self.layers = torch.nn.ModuleList(
            weight_norm(torch.nn.Conv1d(n, m, 5, stride=3, padding=2))
            for n, m in zip(widths, widths[1:], strict=False)
        )
        self.score = weight_norm(torch.nn.Conv1d(widths[-1], 1, 3, padding=1))

    def forward(
        self, wavs: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Score (B, T); returns scores (B p, 1, steps) and the maps."""
        wavs = pad(wavs, (0, -wavs.shape[1] % self.period)) / ACTIVE
        hidden = wavs.unflatten(1, (-1, self.period)).transpose(1, 2)
        hidden = hidden.flatten(0, 1).unsqueeze(1)  # (B p, 1, T / p)
        maps = []
        for layer in self.layers:
            hidden = leaky_relu(layer(hidden), SLOPE)
            maps.append(hidden)
        return self.score(hidden), maps


class Adversary(torch.nn.Module):
    """Several discriminators, of which some, drawn at random, play a step.

    A few a step keep a training on a CPU fast; over steps all are met.

    Arguments
    ---------
    discriminators : list of torch.nn.Module
        Each maps waves to scores and feature maps.
    feature_weight : float
        Weight of the feature matching beside the hinge loss.
    plays : int
        Discriminators a step, at most as many as there are.

    Example
    -------
    >>> adversary = Adversary([STFTDiscriminator(64, 4)], 2.0, plays=1)
    >>> optimizer = torch.optim.AdamW(adversary.parameters())
    >>> made, real = torch.rand(2, 1600), torch.rand(2, 1600)
    >>> adversary.play(made, real, optimizer).shape
    torch.Size([2, 1600])
    """

    def __init__(
        self,
        discriminators: list[torch.nn.Module],
        feature_weight: float,
        plays: int,
    ):
        super().__init__()
        if not 1 <= plays <= len(discriminators):
            raise ValueError(
                f"plays={plays}; of {len(discriminators)} discriminators at "
                "least 1 and at most all can play a step."
            )
        self.discriminators = torch.nn.ModuleList(discriminators)
        self.feature_weight, self.plays = feature_weight, plays

    def play(
        self,
        made: torch.Tensor,
        real: torch.Tensor,
        optimizer: torch.optim.Optimizer,
    ) -> torch.Tensor:
        """Let some discriminators judge and learn.

        Arguments
        ---------
        made, real : torch.Tensor
            Waves (B, T), generated and real.
        optimizer : torch.optim.Optimizer
            Of the discriminators.

        Returns
        -------
        gradient : torch.Tensor
            float32 (B, T): of the generator's hinge loss and feature matching
            in `made`; each discriminator's in each wave is scaled to norm 1,
            and the mean over the discriminators is taken.
        """
        optimizer.zero_grad()
        drawn = torch.randperm(len(self.discriminators))[: self.plays]
        gradient = torch.zeros_like(real)
        for index in drawn.tolist():
            judge = self.discriminators[index]
            gradient += self._judge(judge, made, real) / self.plays
        optimizer.step()
        return gradient

    def _judge(self, judge, made, real):
        """Give one gradient; leave the judge's own in its parameters."""
        made = made.detach().requires_grad_()
        real_scores, real_maps = judge(real)
        made_scores, made_maps = judge(made)
        real_scores, made_scores = real_scores.float(), made_scores.float()
        matching = feature_distance(made_maps, real_maps)
        fooling = self.feature_weight * matching - made_scores.mean()
        (gradient,) = torch.autograd.grad(fooling, made, retain_graph=True)
        loss = torch.relu(1 - real_scores).mean()
        loss = loss + torch.relu(1 + made_scores).mean()
        loss.backward(inputs=list(judge.parameters()))
        return torch.nn.functional.normalize(gradient, dim=1)


def feature_distance(
    made: list[torch.Tensor], real: list[torch.Tensor]
) -> torch.Tensor:
    """Mean L1 distance of feature maps, relative to the real ones' size."""
    distances = [
        l1_loss(m.float(), r.detach().float())
        / r.detach().float().abs().mean().clamp(min=1e-3)
        for m, r in zip(made, real, strict=True)
    ]
    return torch.stack(distances).mean()


def conv(
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> torch.nn.Conv2d:
    """2-D convolution (time, frequency) that keeps unstrided sizes."""
    padding = tuple(
        (k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True)
    )
    return torch.nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation)
