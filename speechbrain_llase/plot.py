"""Pictures of enhancement: spectrograms of input and output.

Authors
 * The speechbrain_llase contributors 2026
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

N_FFT = 512  # samples
HOP_LENGTH = 128  # samples
RANGE_DB = 80.0  # what lies further below the loudest point is black


def plot_spectrograms(
    noisy: torch.Tensor,
    enhanced: torch.Tensor,
    sample_rate: int,
    path: str | Path,
) -> None:
    """Draw the spectrograms of input and output, one above the other.

    Both share one colour scale in dB, relative to the loudest point of the
    two, so that their levels can be compared by eye. matplotlib is imported
    only here, and no global state of it is touched.

    Arguments
    ---------
    noisy : torch.Tensor
        Input (T,), float.
    enhanced : torch.Tensor
        Output (T,), float, as long as the input.
    sample_rate : int
        Of both, in Hz.
    path : str | Path
        Picture to write; its suffix names the format, .png for instance.

    Raises
    ------
    ValueError
        If a signal has no samples, is not one-dimensional, or the two differ
        in length.
    ImportError
        If matplotlib is not installed.

    Example
    -------
    >>> path = Path(getfixture("tmpdir")) / "noise.png"
    >>> plot_spectrograms(torch.randn(8000), torch.zeros(8000), 16000, path)
    >>> path.exists()
    True
    """
    if noisy.ndim != 1 or noisy.shape != enhanced.shape or not noisy.numel():
        raise ValueError(
            f"noisy has shape {tuple(noisy.shape)} and enhanced "
            f"{tuple(enhanced.shape)}; give two waves of one shape (T,), "
            "T at least 1."
        )
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as err:
        raise ImportError(
            "Spectrograms need matplotlib: pip install speechbrain_llase[demo]"
        ) from err

    levels_db = log_power(torch.stack([noisy, enhanced]))  # (2, F, N)
    top_db = levels_db.max().item()
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    extent = (0, len(noisy) / sample_rate, 0, sample_rate / 2000)
    for ax, title, level_db in zip(axes, ("Noisy", "Enhanced"), levels_db):
        image = draw(ax, level_db - top_db, extent)
        ax.set_title(title)
    axes[-1].set_xlabel("Time (s)")
    figure.colorbar(image, ax=axes, label="Level (dB re the loudest point)")
    figure.savefig(path, dpi=120)


def log_power(wavs: torch.Tensor) -> torch.Tensor:
    """Short-time power in dB.

    Arguments
    ---------
    wavs : torch.Tensor
        Waves (B, T), float.

    Returns
    -------
    torch.Tensor
        Power (B, F, N) in dB, F = 257 bins, at least -120.
    """
    spectra = torch.stft(
        wavs.detach().cpu().float(),
        N_FFT,
        HOP_LENGTH,
        window=torch.hann_window(N_FFT),
        pad_mode="constant",
        return_complex=True,
    )
    return 10 * torch.log10(spectra.abs().square() + 1e-12)


def draw(
    ax: Axes,
    level_db: torch.Tensor,
    extent: tuple[float, float, float, float],
) -> AxesImage:
    """Draw one spectrogram.

    Arguments
    ---------
    ax : Axes
        Where to draw.
    level_db : torch.Tensor
        Level (F, N) in dB; 0 is the brightest.
    extent : tuple[float, float, float, float]
        First and last second, lowest and highest frequency in kHz.

    Returns
    -------
    AxesImage
        What a colour bar is made from.
    """
    ax.set_ylabel("Frequency (kHz)")
    return ax.imshow(
        level_db.numpy(),
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=-RANGE_DB,
        vmax=0.0,
    )
