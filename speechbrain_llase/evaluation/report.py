"""Scores on disk: a CSV a file, a JSON summary."""

import csv
import io
import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import torch

import speechbrain_llase
from speechbrain_llase import metrics
from speechbrain_llase.dataio.whole_files import whole_file
from speechbrain_llase.evaluation.clips import Skip
from speechbrain_llase.evaluation.scoring import Scores, Settings
from speechbrain_llase.evaluation.summary import Summary


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
