"""Losses of waves and of digits, for the recipe of llase_mini.

Authors
 * The speechbrain_llase contributors 2026
"""

import torch
import torchaudio
from torch.nn.functional import cross_entropy, l1_loss

from speechbrain_llase.discriminators import Adversary
from speechbrain_llase.fsq import NUM_LEVELS

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
        with torch.autocast(wavs.device.type, enabled=False):
            wavs, target = wavs.float(), target.float()
            losses = [
                l1_loss(
                    mel(wavs).clamp(min=FLOOR).log(),
                    mel(target).clamp(min=FLOOR).log(),
                )
                for mel in self.mels
            ]
            return torch.stack(losses).mean()


class CompressedSTFTLoss(torch.nn.Module):
    """L1 distance of STFT magnitudes, raised to a power below 1.

    Mel bands are too wide to tell harmonics apart above some 2 kHz; every bin
    of a long window counts here. The power keeps the strongest from hiding
    the rest, as in Braun and Tashev, arXiv:2009.12286.

    Arguments
    ---------
    windows : list of int
        Window lengths in samples; the hop is a quarter of each.
    power : float
        Of the magnitudes, over 0 and at most 1.
    level : float
        RMS of speech, to which waves are relative.

    Example
    -------
    >>> loss = CompressedSTFTLoss([64, 256], 0.3, 0.05)
    >>> wavs = torch.rand(2, 1600)
    >>> float(loss(wavs, wavs))
    0.0
    """

    def __init__(self, windows: list[int], power: float, level: float):
        super().__init__()
        self.windows, self.power, self.level = windows, power, level

    def forward(self, wavs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare (B, T) with (B, T); the mean over bins and windows."""
        losses = [
            l1_loss(self.spectrum(wavs, size), self.spectrum(target, size))
            for size in self.windows
        ]
        return torch.stack(losses).mean()

    def spectrum(self, wavs: torch.Tensor, size: int) -> torch.Tensor:
        """Compressed magnitudes (B, bins, frames) at one window length."""
        with torch.autocast(wavs.device.type, enabled=False):
            bins = torch.stft(
                wavs.float() / self.level,
                size,
                size // 4,
                window=torch.hann_window(size, device=wavs.device),
                normalized=True,
                return_complex=True,
            )
            squares = torch.view_as_real(bins).square().sum(-1)
            return (squares + FLOOR).pow(self.power / 2)


class SpectralLoss(torch.nn.Module):
    """Weighted sum of losses of waves.

    Arguments
    ---------
    losses : list of torch.nn.Module
        Each maps (wavs, target) to a scalar.
    weights : list of float
        One for every loss.
    """

    def __init__(self, losses: list[torch.nn.Module], weights: list[float]):
        super().__init__()
        if len(losses) != len(weights):
            raise ValueError(
                f"{len(losses)} losses and {len(weights)} weights; give one "
                "weight for every loss."
            )
        self.losses, self.weights = torch.nn.ModuleList(losses), weights

    def forward(self, wavs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare (B, T) with (B, T)."""
        terms = zip(self.weights, self.losses, strict=True)
        return sum(weight * loss(wavs, target) for weight, loss in terms)


def wave_loss(
    wavs: torch.Tensor,
    target: torch.Tensor,
    spectral_loss: torch.nn.Module,
    adversary: Adversary,
    optimizer: torch.optim.Optimizer,
    share: float | None,
) -> torch.Tensor:
    """Compare waves by their spectra and, with a share, by an adversary.

    The adversary's gradient in each wave is scaled to `share` times the norm
    of the spectral one, whatever the discriminators' scale: the idea of the
    balancer of Defossez et al., arXiv:2210.13438, wave by wave, since the
    gradient of log spectra is largest in the quietest ones.

    Arguments
    ---------
    wavs, target : torch.Tensor
        (B, T), generated and real.
    spectral_loss : torch.nn.Module
        Maps (wavs, target) to a scalar.
    adversary : Adversary
        Updated here.
    optimizer : torch.optim.Optimizer
        Of the adversary.
    share : float, optional
        Size of the adversary's gradient beside the spectral one. With 0 it
        learns and is not heard, with None it does not play.

    Returns
    -------
    loss : torch.Tensor
        A scalar: its value is that of spectral_loss, its gradient the sum.
    """
    leaf = wavs.detach().float().requires_grad_()
    loss = spectral_loss(leaf, target)
    (gradient,) = torch.autograd.grad(loss, leaf)
    if share is not None:
        judged = adversary.play(leaf, target, optimizer)
        size = gradient.norm(dim=1, keepdim=True)
        gradient = gradient + share * size * judged
    return with_gradient(loss.detach(), wavs, gradient)


def share_at(step: int, share: float | None, alone_steps: int) -> float | None:
    """How much the adversary has to say at a step, None for nothing.

    Arguments
    ---------
    step : int
        Steps so far.
    share : float, optional
        What it has to say later on; see `wave_loss`.
    alone_steps : int
        Steps in which it learns and is not heard.

    Example
    -------
    >>> share_at(0, 0.5, 10), share_at(10, 0.5, 10), share_at(10, None, 10)
    (0.0, 0.5, None)
    """
    if share is None:
        return None
    return 0.0 if step < alone_steps else share


def with_gradient(
    value: torch.Tensor, wavs: torch.Tensor, gradient: torch.Tensor
) -> torch.Tensor:
    """A scalar of this value whose gradient in `wavs` is the one given.

    Example
    -------
    >>> wavs = torch.ones(1, 3, requires_grad=True)
    >>> with_gradient(torch.tensor(7.0), wavs, 2 * torch.ones(1, 3)).backward()
    >>> wavs.grad
    tensor([[2., 2., 2.]])
    """
    wavs = wavs.float()
    return value + ((wavs - wavs.detach()) * gradient).sum()


def digit_loss(
    logits: torch.Tensor, levels: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Cross-entropy of FSQ digits, smoothed over neighbouring levels.

    Levels have an order: one beside the right one is a small error. A share
    of `smoothing` of the target lies on each neighbour there is.

    Arguments
    ---------
    logits : torch.Tensor
        float (..., 4).
    levels : torch.Tensor
        int64 (...), in [0, 4).
    smoothing : float
        From 0 (plain cross-entropy) to below 0.5.

    Returns
    -------
    loss : torch.Tensor
        A scalar.

    Example
    -------
    >>> logits, levels = torch.zeros(2, 8, 4), torch.ones(2, 8).long()
    >>> round(float(digit_loss(logits, levels, 0.1)), 3)  # log(4)
    1.386
    """
    if not 0 <= smoothing < 0.5:
        raise ValueError(
            f"smoothing={smoothing}; give a share from 0 to below 0.5."
        )
    table = torch.eye(NUM_LEVELS, device=logits.device)
    order = torch.arange(NUM_LEVELS, device=logits.device)
    beside = ((order[:, None] - order).abs() == 1).float()
    table = table + smoothing * (beside - beside.sum(1).diag())
    target = table[levels.flatten()]
    return cross_entropy(logits.float().flatten(0, -2), target)
