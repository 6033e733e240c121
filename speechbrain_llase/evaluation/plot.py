"""Pictures of enhancement: spectrograms, level and confidence over time.

matplotlib is imported only where a picture is drawn, without its global state.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from speechbrain_llase.dataio.whole_files import whole_file
from speechbrain_llase.evaluation.plot_data import Track, track_wave
from speechbrain_llase.evaluation.plot_panels import (
    draw_confidence,
    draw_levels,
    draw_spectrogram,
    label_time,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 9.0  # inches
DPI = 120
DARK_PAPER, LIGHT_INK = "#18181b", "#e4e4e7"
MAX_GAP_S = 0.1  # by which two files of one recording may differ


def plot_enhancement(
    noisy: Track,
    enhanced: Track,
    path: str | Path,
    confidence: np.ndarray | None = None,
    kind: str = "entropy",
    title: str = "",
) -> None:
    """Draw spectrograms, levels and, if it is known, confidence.

    Arguments
    ---------
    noisy, enhanced : Track
        Of the same part of a recording; see `track_file` and `track_wave`.
    path : str or Path
        Picture to write; its suffix names the format: .png, .pdf, .svg and
        what else matplotlib writes. It appears only when it is complete.
    confidence : np.ndarray, optional
        (N,), 50 a second; `Details.entropy` for instance.
    kind : str
        What `confidence` is: "entropy" or "margin".
    title : str
        Written on top.

    Raises
    ------
    ValueError
        The lengths differ, or the suffix is not known.
    ImportError
        matplotlib is not installed.
    """
    figure = make_figure(noisy, enhanced, confidence, kind, title)
    save_figure(figure, path)


def plot_spectrograms(
    noisy: torch.Tensor,
    enhanced: torch.Tensor,
    sample_rate: int,
    path: str | Path,
) -> None:
    """Draw the spectrograms of input and output, one above the other.

    Both share one colour scale in dB, relative to the loudest point of the
    two, so that their levels can be compared by eye.

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
    tracks = [track_wave(wav, sample_rate) for wav in (noisy, enhanced)]
    save_figure(make_figure(*tracks, levels=False), path)


def make_figure(
    noisy: Track,
    enhanced: Track,
    confidence: np.ndarray | None = None,
    kind: str = "entropy",
    title: str = "",
    levels: bool = True,
) -> Figure:
    """Draw as `plot_enhancement` does, levels if wanted, but write nothing."""
    gap_s = abs(noisy.duration_s - enhanced.duration_s)
    if gap_s > MAX_GAP_S:
        raise ValueError(
            f"The noisy wave lasts {noisy.duration_s:.2f} s and the enhanced "
            f"one {enhanced.duration_s:.2f} s; give two of one recording, or "
            "a part that both have (--start, --stop)."
        )
    heights = [2.2, 2.2] + [1.5] * levels + [1.3] * (confidence is not None)
    figure = new_figure((WIDTH, sum(heights) + 1))
    figure.suptitle(title or None, fontsize="large")
    axes = figure.subplots(
        len(heights), sharex=True, gridspec_kw={"height_ratios": heights}
    )
    top_db = max(noisy.spectrogram.max(), enhanced.spectrogram.max())
    draw_spectrogram(axes[0], noisy, top_db, "Noisy")
    image = draw_spectrogram(axes[1], enhanced, top_db, "Enhanced")
    label = "Level (dB re the loudest point)"
    figure.colorbar(image, ax=list(axes[:2]), label=label, pad=0.015, aspect=30)
    if levels:
        draw_levels(axes[2], {"Noisy": noisy, "Enhanced": enhanced})
    if confidence is not None:
        draw_confidence(axes[-1], confidence, kind, noisy.start_s)
    label_time(axes[-1], noisy.start_s, max(noisy.stop_s, enhanced.stop_s))
    figure.align_ylabels(axes)
    return figure


def new_figure(inches: tuple[float, float]) -> Figure:
    """Make an empty figure (width, height) that no window shows."""
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise ImportError(
            "Pictures need matplotlib: pip install speechbrain_llase[demo]"
        ) from err
    return Figure(figsize=inches, layout="constrained")


def darken(figure: Figure) -> None:
    """Turn the paper dark and the ink light; curves and colours stay."""
    from matplotlib.text import Text

    figure.set_facecolor(DARK_PAPER)
    for ax in figure.axes:
        ax.set_facecolor(DARK_PAPER)
        ax.tick_params(which="both", colors=LIGHT_INK)
        for spine in ax.spines.values():
            spine.set_edgecolor(LIGHT_INK)
    for text in figure.findobj(Text):
        text.set_color(LIGHT_INK)


def save_figure(figure: Figure, path: str | Path, dpi: int = DPI) -> None:
    """Write a picture beside its place, then move it there at once."""
    kind = Path(path).suffix[1:].lower()
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=dpi, format=kind)
