"""Panels of a picture, each drawn on Axes that the caller made.

All share one time axis, in seconds of the file. The colours are those of
Okabe and Ito, which colour-blind readers can tell apart, and magma.

Authors
 * The speechbrain_llase contributors 2026
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from speechbrain_llase.nnet.fsq import VOCAB_SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from speechbrain_llase.evaluation.plot_data import Track

RANGE_DB = 80.0  # what lies further below the loudest point is black
LEVELS_DB = 65.0  # shown below the loudest level
POINTS = 1500  # of a curve; more are averaged
LEVEL_S = 0.1  # over which levels are averaged
SMOOTH_S = 0.5  # over which confidence is averaged
TOKEN_S = 0.02  # seconds a token
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")  # Okabe and Ito
GREY = "#777777"
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
CONFIDENCE = {
    "entropy": "Entropy (nats)",
    "margin": "Margin (nats)",
}


def draw_spectrogram(
    ax: Axes, track: Track, top_db: float | None = None, title: str = ""
) -> AxesImage:
    """Draw a spectrogram.

    Arguments
    ---------
    ax : Axes
        Where to draw.
    track : Track
        What to draw.
    top_db : float, optional
        What is brightest; the track's own loudest point if None. Give the
        same to several panels that are compared.
    title : str
        Written above.

    Returns
    -------
    image : AxesImage
        What a colour bar is made from; in dB below `top_db`.
    """
    top_db = track.spectrogram.max() if top_db is None else top_db
    ax.set_ylabel("Frequency (kHz)")
    ax.set_title(title, loc="left", fontsize="medium")
    return ax.imshow(
        track.spectrogram - top_db,
        origin="lower",
        aspect="auto",
        extent=(track.start_s, track.stop_s, 0, track.nyquist_khz),
        cmap="magma",
        vmin=-RANGE_DB,
        vmax=0.0,
    )


def draw_levels(ax: Axes, tracks: Mapping[str, Track]) -> None:
    """Draw how loud waves are over time, and their active levels.

    Arguments
    ---------
    ax : Axes
        Where to draw.
    tracks : mapping
        What to draw, by the names that the legend shows.
    """
    tops = []
    for colour, (name, track) in zip(COLOURS, tracks.items()):
        label = f"{name} (silent)"
        if math.isfinite(track.active_db):
            level = f"{track.active_db:.1f}".replace("-", "\u2212")
            label = f"{name}, active level {level} dBFS"
            ax.axhline(track.active_db, color=colour, lw=0.8, ls=(0, (5, 4)))
        power = smooth(track.power, round(LEVEL_S / track.frame_s))
        power = pool(power, -(-len(power) // POINTS) or 1)
        levels_db = 10 * np.log10(power + 1e-12)
        tops.append(levels_db.max(initial=-60.0))
        ax.plot(
            times(track, len(power)),
            levels_db,
            color=colour,
            lw=1,
            label=label,
        )
    top = max(tops, default=0.0)
    ax.set_ylim(top - LEVELS_DB, top + 5)
    ax.set_ylabel("Level (dBFS)")
    add_grid(ax)
    legend(ax, len(tracks))


def draw_confidence(
    ax: Axes,
    values: np.ndarray,
    kind: str = "entropy",
    start_s: float = 0.0,
    step_s: float = TOKEN_S,
) -> None:
    """Draw how sure the token LM was, frame by frame.

    Where a file has more frames than a picture has points, the thin curve
    becomes a band that holds the middle 80 % of the frames.

    Arguments
    ---------
    ax : Axes
        Where to draw.
    values : np.ndarray
        (N,) entropy or margin, in nats; `Details.entropy` for instance.
    kind : str
        "entropy" (0 is certain) or "margin" (0 is undecided).
    start_s : float
        Where the first frame begins, in seconds.
    step_s : float
        Seconds a frame.
    """
    if kind not in CONFIDENCE:
        raise ValueError(
            f"kind={kind!r} is not known; choose one of {', '.join(CONFIDENCE)}."
        )
    values = np.asarray(values, dtype=np.float32)
    group = -(-len(values) // POINTS) or 1
    smoothed = smooth(values, round(SMOOTH_S / step_s))
    x = start_s + (np.arange(-(-len(values) // group)) + 0.5) * group * step_s
    colour = COLOURS[2]
    if group > 1:
        low, high = (pool(values, group, q) for q in (10, 90))
        ax.fill_between(x, low, high, color=colour, alpha=0.25, lw=0)
    else:
        ax.plot(x, values, color=colour, lw=0.7, alpha=0.5)
    mean = values.mean() if values.size else math.nan
    label = f"mean {mean:.2f}" if values.size else "nothing was predicted"
    ax.plot(x, pool(smoothed, group), color=colour, lw=1.5, label=label)
    ax.set_ylabel(CONFIDENCE[kind])
    ax.set_ylim(bottom=0)
    if kind == "entropy":
        most = math.log(VOCAB_SIZE)  # of a uniform guess
        dots = (0, (1, 2))
        ax.axhline(most, color=GREY, lw=1, ls=dots, label="a blind guess")
        ax.set_ylim(0, 1.08 * most)
    add_grid(ax)
    legend(ax, 2)


def label_time(ax: Axes, start_s: float, stop_s: float) -> None:
    """Label the time axis: seconds, or minutes and hours if it is long.

    Arguments
    ---------
    ax : Axes
        The lowest panel.
    start_s, stop_s : float
        What it shows, in seconds.
    """
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    ax.set_xlim(start_s, stop_s)
    if stop_s <= 120:
        ax.set_xlabel("Time (s)")
        return
    hours = stop_s >= 3600
    span, most = stop_s - start_s, 7 if hours else 10
    step = next((s for s in STEPS_S if span / s <= most), 2 * STEPS_S[-1])

    def clock(second: float, _: int) -> str:
        minutes, seconds = divmod(round(second), 60)
        if not hours:
            return f"{minutes}:{seconds:02d}"
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"

    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.xaxis.set_major_formatter(FuncFormatter(clock))
    ax.set_xlabel("Time (h:min:s)" if hours else "Time (min:s)")


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Average over `width` neighbours; fewer at the ends."""
    if not len(values):
        return values
    width = max(1, min(width, len(values)))
    ones = np.ones(width)
    counts = np.convolve(np.ones(len(values)), ones, "same")
    return np.convolve(values, ones, "same") / counts


def pool(
    values: np.ndarray, group: int, percentile: float | None = None
) -> np.ndarray:
    """Average groups of neighbours, or take a percentile of each."""
    if group == 1:
        return values
    missing = -len(values) % group
    filled = np.concatenate((values, np.full(missing, np.nan)))
    groups = filled.reshape(-1, group)
    if percentile is None:
        return np.nanmean(groups, 1)
    return np.nanpercentile(groups, percentile, 1)


def times(track: Track, points: int) -> np.ndarray:
    """Seconds of the middle of each of a curve's points."""
    group = -(-len(track.power) // POINTS) or 1
    middle = (np.arange(points) + 0.5) * group * track.frame_s
    return track.start_s + middle


def add_grid(ax: Axes) -> None:
    """Draw light lines behind a curve, and no frame around it."""
    ax.grid(alpha=0.25, lw=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def legend(ax: Axes, columns: int) -> None:
    """Write the legend above the panel, where no curve runs."""
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 0.98),
        ncols=columns,
        frameon=False,
        fontsize="small",
        borderaxespad=0.1,
        handlelength=1.5,
    )
