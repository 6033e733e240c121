"""Losses of waves and the discriminator that trains the small codec.

Authors
 * The speechbrain_llase contributors 2026
"""

import torch
import torchaudio
from torch.nn.functional import l1_loss, leaky_relu

FLOOR = 1e-5  # smallest mel magnitude


class MultiScaleMelLoss(torch.nn.Module):
    """L1 distance of log-mel spectrograms at several window lengths.

    Source: Kumar et al., arXiv:2306.06546 (Descript audio codec).

    Arguments
    ---------
    windows : list of int
        Window lengths in samples; the hop is a quarter of each.
    num_mels : list of int
        Mel bands, one number for every window.
    sample_rate : int
        In Hz.

    Example
    -------
    >>> loss = MultiScaleMelLoss([64, 256], [5, 20])
    >>> wavs = torch.rand(2, 1600)
    >>> float(loss(wavs, wavs))
    0.0
    """

    def __init__(
        self,
        windows: list[int],
        num_mels: list[int],
        sample_rate: int = 16000,
    ):
        super().__init__()
        self.mels = torch.nn.ModuleList(
            torchaudio.transforms.MelSpectrogram(
                sample_rate,
                n_fft=window,
                hop_length=window // 4,
                n_mels=bands,
                power=1,
                normalized="window",
            )
            for window, bands in zip(windows, num_mels, strict=True)
        )

    def forward(self, wavs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare (B, T) with (B, T); the mean over bins and windows."""
        losses = [
            l1_loss(
                mel(wavs).clamp(min=FLOOR).log(),
                mel(target).clamp(min=FLOOR).log(),
            )
            for mel in self.mels
        ]
        return torch.stack(losses).mean()


class STFTDiscriminator(torch.nn.Module):
    """Judge a wave by its complex spectrogram at one window length.

    A small form of the discriminators of Defossez et al., arXiv:2210.13438.

    Arguments
    ---------
    window : int
        Window length in samples; the hop is half of it.
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
        norm = torch.nn.utils.parametrizations.weight_norm
        layers = [norm(conv(2, channels, (3, 9), stride=(1, 4)))]
        for dilation in (1, 2, 4):
            layers.append(
                norm(
                    conv(
                        channels,
                        channels,
                        (3, 5),
                        stride=(1, 2),
                        dilation=(dilation, 1),
                    )
                )
            )
        self.layers = torch.nn.ModuleList(layers)
        self.score = norm(conv(channels, 1, (3, 3)))

    def forward(
        self, wavs: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Score (B, T); returns scores (B, 1, frames, bins) and the maps."""
        spectrum = torch.stft(
            wavs,
            self.window,
            self.window // 2,
            window=torch.hann_window(self.window, device=wavs.device),
            normalized=True,
            return_complex=True,
        )
        hidden = torch.view_as_real(spectrum).permute(0, 3, 2, 1)
        maps = []
        for layer in self.layers:
            hidden = leaky_relu(layer(hidden), 0.1)
            maps.append(hidden)
        return self.score(hidden), maps


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


class Adversary(torch.nn.Module):
    """Several discriminators of which one, drawn at random, plays a step.

    One a step keeps a training on a CPU fast; over steps all are met.

    Arguments
    ---------
    discriminators : list of torch.nn.Module
        Each maps waves to scores and feature maps.
    feature_weight : float
        Weight of the feature matching term.

    Example
    -------
    >>> adversary = Adversary([STFTDiscriminator(64, 4)], 2.0)
    >>> optimizer = torch.optim.AdamW(adversary.parameters())
    >>> made, real = torch.rand(2, 1600), torch.rand(2, 1600)
    >>> adversary.play(made, real, optimizer).shape
    torch.Size([])
    """

    def __init__(
        self, discriminators: list[torch.nn.Module], feature_weight: float
    ):
        super().__init__()
        self.discriminators = torch.nn.ModuleList(discriminators)
        self.feature_weight = feature_weight

    def play(
        self,
        made: torch.Tensor,
        real: torch.Tensor,
        optimizer: torch.optim.Optimizer,
    ) -> torch.Tensor:
        """Update one discriminator and judge the generator by it.

        Arguments
        ---------
        made, real : torch.Tensor
            Waves (B, T), generated and real.
        optimizer : torch.optim.Optimizer
            Of the discriminators.

        Returns
        -------
        loss : torch.Tensor
            A scalar for the generator: hinge loss and feature matching.
        """
        drawn = torch.randint(len(self.discriminators), ()).item()
        judge = self.discriminators[drawn]
        real_scores, real_maps = judge(real)
        made_scores, _ = judge(made.detach())
        loss = torch.relu(1 - real_scores).mean()
        loss = loss + torch.relu(1 + made_scores).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        made_scores, made_maps = judge(made)
        matching = feature_distance(made_maps, real_maps)
        return self.feature_weight * matching - made_scores.float().mean()


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
