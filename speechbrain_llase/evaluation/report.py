"""Scores on disk: a CSV a file, a JSON summary."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import torch

import speechbrain_llase
from speechbrain_llase import metrics
from speechbrain_llase.dataio.whole_files import whole_file
from speechbrain_llase.evaluation.clips import Skip
from speechbrain_llase.evaluation.scoring import Scores, Settings
from speechbrain_llase.evaluation.summary import Summary


def write_csv(path: Path, scores: Sequence[Scores]) -> None:
    """Write one line a clip and row; what was skipped is left empty.

    Arguments
    ---------
    path : Path
        File to write.
    scores : sequence of Scores
        What to write.
    """
    columns: dict[str, None] = {}
    for score in scores:
        for figures in score.rows.values():
            columns |= dict.fromkeys(figures)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["clip", "row", *columns])
    for score in scores:
        for row, figures in score.rows.items():
            cells = [_rounded(figures.get(column, "")) for column in columns]
            writer.writerow([score.clip.name, row, *cells])
    write_text(path, file.getvalue())


def write_json(
    path: Path, summary: Summary, skipped: Sequence[Skip], settings: Settings
) -> None:
    """Write the summary, what was skipped and why, and what was used.

    Arguments
    ---------
    path : Path
        File to write.
    summary : dict
        As `summarise` gives it.
    skipped : sequence of Skip
        All of them.
    settings : Settings
        What was measured.
    """
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


def _rounded(figure):
    return round(figure, 5) if isinstance(figure, float) else figure
