"""A picture of the scores: every clip a point, every row a colour."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speechbrain_llase.evaluation.plot import new_figure, save_figure
from speechbrain_llase.evaluation.scoring import Scores
from speechbrain_llase.evaluation.summary import COLUMNS, RATIOS, Summary

DRAWN = [c for c in COLUMNS if c not in ("level", "clipped", "missing")]


def plot_distributions(
    path: Path, scores: Sequence[Scores], summary: Summary
) -> None:
    """Draw the distribution of every measure; `path`'s suffix names the format.

    Every clip is a point; word errors above 2 are drawn at 2. The mean and
    its interval, of `summarise`, are drawn as a bar.
    """
    rows = list(next(score.rows for score in scores if score.rows))
    known = [c for c in COLUMNS if any(c in summary[row] for row in rows)]
    columns = [c for c in known if c in DRAWN] or known
    across = min(len(columns), 5)
    down = -(-len(columns) // across)
    figure = new_figure((2.2 * across, 2.6 * down))
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for ax in axes[len(columns) :]:
        ax.remove()
    for ax, column in zip(axes, columns):
        _draw(ax, column, rows, scores, summary)
    save_figure(figure, path, dpi=110)


def _draw(ax, column, rows, scores, summary):
    """Draw one measure."""
    rng = np.random.default_rng(0)  # only spreads the points sideways
    for place, row in enumerate(rows):
        values = [
            clip_value(score.rows.get(row, {}), column) for score in scores
        ]
        values = np.array([x for x in values if x is not None])
        spread = place + rng.uniform(-0.25, 0.25, len(values))
        ax.plot(spread, values, ".", color=f"C{place}", alpha=0.4, markersize=4)
        known = summary[row].get(column)
        if known:
            low, high = known["low"], known["high"]
            ax.plot([place] * 2, [low, high], color="black", linewidth=2)
            ax.plot(place, known["mean"], "_", color="black", markersize=14)
    ax.set_title(COLUMNS[column], fontsize=9)
    ax.set_xticks(range(len(rows)), rows, rotation=30, fontsize=8)
    ax.set_xlim(-0.6, len(rows) - 0.4)
    ax.tick_params(axis="y", labelsize=8)
    ax.grid(axis="y", alpha=0.3)


def clip_value(figures: dict[str, float], column: str) -> float | None:
    """Give one clip's figure in a column, if it has one."""
    if column not in RATIOS:
        return figures.get(column)
    above, below = (figures.get(key) for key in RATIOS[column])
    return min(above / below, 2.0) if below else None
