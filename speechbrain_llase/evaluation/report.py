"""Scores on disk: CSV by clip, a JSON summary, a picture."""

import csv
import io
import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch

import speechbrain_llase
from speechbrain_llase import metrics
from speechbrain_llase.dataio.whole_files import whole_file
from speechbrain_llase.evaluation.clips import Skip
from speechbrain_llase.evaluation.plot import new_figure, save_figure
from speechbrain_llase.evaluation.scoring import Scores, Settings
from speechbrain_llase.evaluation.summary import COLUMNS, RATIOS, Summary

DRAWN = [c for c in COLUMNS if c not in ("level", "clipped", "missing")]


def write_csv(path: Path, scores: Sequence[Scores]) -> None:
    """Write one line a clip and row; what was skipped is left empty."""
    rows = [
        {"clip": score.clip.name, "row": row}
        | {column: round(figure, 5) for column, figure in figures.items()}
        for score in scores
        for row, figures in score.rows.items()
    ]
    columns = dict.fromkeys(["clip", "row", *chain(*rows)])
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, file.getvalue())


def write_json(
    path: Path, summary: Summary, skipped: Sequence[Skip], settings: Settings
) -> None:
    """Write the summary, what was skipped and why, and what was used."""
    report = {
        "summary": summary,
        "num_skipped": len(skipped),
        "skipped": [vars(skip) for skip in skipped],
        "settings": describe_settings(settings),
    }
    write_text(path, json.dumps(report, indent=1, allow_nan=False) + "\n")


def describe_settings(settings: Settings) -> dict:
    """Say what figures depend on."""
    return {
        "task": settings.task,
        "asr": settings.asr,
        "speaker": settings.speaker,
        "without": list(settings.without),
        "dnsmos_sha256": metrics.DNSMOS_SHA256,
        "speechbrain_llase": speechbrain_llase.__version__,
        "torch": torch.__version__,
    }


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place, then move it there in one step."""
    with whole_file(path) as partial:
        partial.write_text(text, "utf-8")


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
    above, below = RATIOS.get(column, (column, None))
    rng = np.random.default_rng(0)  # only spreads the points sideways
    for place, row in enumerate(rows):
        given = [score.rows.get(row, {}) for score in scores]
        values = [x[above] for x in given if above in x]
        if below:
            shares = [x[above] / x[below] for x in given if x.get(below)]
            values = [min(share, 2.0) for share in shares]
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
