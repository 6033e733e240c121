"""Panels of a picture, each drawn on Axes that the caller made.

All share one time axis, in seconds of the file. The colours are those of
Okabe and Ito, which colour-blind readers can tell apart, and magma.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter1d

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
MAX_ENTROPY = 16 * math.log(2)  # nats, of a uniform guess among 2**16 tokens
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")  # Okabe and Ito
GREY = "#777777"
STEPS_S = (15, 30, 60, 120, 300, 600, 900, 1800, 3600)
CONFIDENCE = {"entropy": "Entropy (nats)", "margin": "Margin (nats)"}


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
    top = -60.0
    for colour, (name, track) in zip(COLOURS, tracks.items()):
        label = f"{name} (silent)"
        if math.isfinite(track.active_db):
            level = f"{track.active_db:.1f}".replace("-", "\u2212")
            label = f"{name}, active level {level} dBFS"
            ax.axhline(track.active_db, color=colour, lw=0.8, ls=(0, (5, 4)))
        x, power = running_mean(track.power, round(LEVEL_S / track.frame_s))
        levels_db = 10 * np.log10(power + 1e-12)
        top = levels_db.max(initial=top)
        x = track.start_s + x * track.frame_s
        ax.plot(x, levels_db, color=colour, lw=1, label=label)
    ax.set_ylim(top - LEVELS_DB, top + 5)
    ax.set_ylabel("Level (dBFS)")
    add_grid_and_legend(ax, len(tracks))


def draw_confidence(
    ax: Axes, values: np.ndarray, kind: str = "entropy", start_s: float = 0.0
) -> None:
    """Draw how sure the token LM was, from `start_s` on, by values (N,).

    They are entropy (0 is certain) or margin (0 is undecided), in nats, 50 a
    second; `Details.entropy` for instance. Where a file has more frames than
    a picture has points, the thin curve becomes a band that holds the middle
    80 % of the frames. Raises a ValueError if `kind` is neither.
    """
    if kind not in CONFIDENCE:
        raise ValueError(
            f"kind={kind!r} is not known; choose one of {', '.join(CONFIDENCE)}."
        )
    values = np.asarray(values, dtype=np.float32)
    x, means = running_mean(values, round(SMOOTH_S / TOKEN_S))
    x, colour = start_s + x * TOKEN_S, COLOURS[2]
    if len(x) < len(values):
        groups = np.array_split(values, len(x))
        low, high = np.transpose([np.percentile(g, (10, 90)) for g in groups])
        ax.fill_between(x, low, high, color=colour, alpha=0.25, lw=0)
    else:
        ax.plot(x, values, color=colour, lw=0.7, alpha=0.5)
    known = f"mean {values.mean():.2f}" if len(x) else "nothing was predicted"
    ax.plot(x, means, color=colour, lw=1.5, label=known)
    ax.set_ylabel(CONFIDENCE[kind])
    ax.set_ylim(bottom=0)
    if kind == "entropy":
        dots = {"color": GREY, "lw": 1, "ls": (0, (1, 2))}
        ax.axhline(MAX_ENTROPY, label="a blind guess", **dots)
        ax.set_ylim(0, 1.08 * MAX_ENTROPY)
    add_grid_and_legend(ax, 2)


def label_time(ax: Axes, start_s: float, stop_s: float) -> None:
    """Label the time axis: in seconds, or h:min:s if it is long.

    Arguments
    ---------
    ax : Axes
        The lowest panel.
    start_s, stop_s : float
        What it shows, in seconds.
    """
    ax.set_xlim(start_s, stop_s)
    ax.set_xlabel("Time (s)" if stop_s <= 120 else "Time (h:min:s)")
    if stop_s > 120:
        span = stop_s - start_s
        step = next((s for s in STEPS_S if span / s <= 7), 2 * STEPS_S[-1])
        ax.set_xticks(
            np.arange(-(-start_s // step) * step, stop_s + 1e-6, step)
        )
        ax.xaxis.set_major_formatter(
            lambda second, _: str(timedelta(seconds=round(second)))
        )


def running_mean(
    values: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average (N,) over `width` neighbours; keep at most `POINTS` of the means.

    More are averaged where there are more values. Gives the places (P,) of
    the middle of each mean, the first value's is 0.5, and the means (P,).
    """
    group = -(-len(values) // POINTS) or 1
    width = max(1, group, min(width, len(values)))
    means = uniform_filter1d(values, width, mode="nearest")
    places = np.arange(group // 2, len(values), group)
    return places + 0.5, means[places]


def add_grid_and_legend(ax: Axes, columns: int) -> None:
    """Light lines behind curves, no frame, the legend above the panel."""
    ax.grid(alpha=0.25, lw=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 0.98),
        ncols=columns,
        frameon=False,
        fontsize="small",
        borderaxespad=0.1,
        handlelength=1.5,
    )
