"""Means with bootstrap intervals, and what enhancement changes."""

from collections.abc import Sequence

import numpy as np

from speechbrain_llase.evaluation.scoring import Scores

SEED = 2026
RESAMPLINGS = 5000
CHANGE = "enhanced - noisy"  # a row of differences, clip by clip
RATIOS = {  # column -> sum of the one over sum of the other
    "dWER": ("edits", "words"),
    "WER": ("text_edits", "text_words"),
}
COLUMNS = {  # of the tables: column -> what it is called there
    "SIG": "SIG",
    "BAK": "BAK",
    "OVRL": "OVRL",
    "P808": "P.808",
    "pesq": "PESQ-WB",
    "estoi": "ESTOI",
    "si-sdr": "(SI-SDR, dB)",
    "plcmos": "PLCMOS",
    "echo_mos": "AECMOS echo",
    "deg_mos": "AECMOS other",
    "erle": "ERLE, dB",
    "dWER": "dWER",
    "WER": "WER",
    "speaker": "speaker",
    "level": "level, dBFS",
    "clipped": "clipped, %",
    "missing": "samples missing",
}
Summary = dict[str, dict[str, dict]]  # row -> column -> figures


def summarise(scores: Sequence[Scores]) -> Summary:
    """Average the figures of all clips.

    Arguments
    ---------
    scores : sequence of Scores
        As `score_clips` gives them.

    Returns
    -------
    summary : dict
        Row to column to {"mean", "low", "high", "num"}: the mean over the
        `num` clips that have the figure and its 95 % interval by a
        percentile bootstrap over the clips. Word errors are total edits over
        total words. Where a row is "enhanced" and one "noisy", a row
        `CHANGE` is the difference over the clips that have both.
    """
    scored = [score.rows for score in scores if score.rows]
    if not scored:
        return {}
    num = len(scored)
    rng = np.random.default_rng(SEED)
    draws = rng.integers(num, size=(RESAMPLINGS, num))
    draws = np.concatenate([[np.arange(num)], draws])  # first the clips as is
    rows = list(scored[0])
    pairs = {row: (row, None) for row in rows}
    if "enhanced" in rows and "noisy" in rows:
        pairs[CHANGE] = ("enhanced", "noisy")
    summary = {}
    for name, (row, other) in pairs.items():
        summary[name] = {}
        for column in COLUMNS:
            figures = _figures(scored, row, other, column, draws)
            if figures:
                summary[name][column] = figures
    return summary


def _figures(scored, row, other, column, draws):
    """Mean and interval of one column of a row, less those of another."""
    above, below = RATIOS.get(column, (column, None))
    systems = [row] if other is None else [row, other]
    parts = []  # of each system: numerators and denominators (clips,)
    for system in systems:
        given = [rows.get(system, {}) for rows in scored]
        values = np.array([x.get(above, np.nan) for x in given], float)
        counts = np.array([x.get(below, np.nan) for x in given], float)
        parts.append((values, counts if below else np.ones(len(values))))
    known = np.all([np.isfinite(x) for pair in parts for x in pair], axis=0)
    if not known.any():
        return None
    means = 0
    for sign, (values, counts) in zip((1, -1), parts, strict=False):
        totals = np.where(known, counts, 0)[draws].sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            means += sign * np.where(known, values, 0)[draws].sum(1) / totals
    if not np.isfinite(means[0]):  # no word at all
        return None
    means = means[np.isfinite(means)]  # a sample may hold none of these clips
    low, high = np.percentile(means[1:], [2.5, 97.5])
    return {
        "mean": round(float(means[0]), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "num": int(known.sum()),
    }


def table(summary: Summary, with_interval: bool = True) -> str:
    """Write a summary as a Markdown table.

    Arguments
    ---------
    summary : dict
        As `summarise` gives it.
    with_interval : bool
        Add the intervals.

    Returns
    -------
    table : str
        A dash where there is no figure; the number of clips in brackets
        where it is not that of the others.
    """
    present = [c for c in COLUMNS if any(c in row for row in summary.values())]
    most = max(x["num"] for row in summary.values() for x in row.values())
    lines = ["| |" + "".join(f" {COLUMNS[c]} |" for c in present)]
    lines.append("|---|" + "---|" * len(present))
    for name, row in summary.items():
        cells = (_cell(row.get(c), most, with_interval) for c in present)
        lines.append(f"| {name} |" + "".join(f" {cell} |" for cell in cells))
    return "\n".join(lines)


def _cell(figures, most, with_interval):
    """One figure as text."""
    if figures is None:
        return "-"
    text = f"{figures['mean']:.2f}"
    if with_interval:
        text += f" ({figures['low']:.2f} to {figures['high']:.2f})"
    return text if figures["num"] == most else f"{text} [{figures['num']}]"
