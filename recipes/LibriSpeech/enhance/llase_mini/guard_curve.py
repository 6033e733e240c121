#!/usr/bin/env python3
"""Show what a guard costs and saves: word changes against DNSMOS.

To run this script, do the following:
> python guard_curve.py --source MODEL --dns DATA/dns \
>     --clean DATA/clean/valid --noise DATA/noise/valid \
>     --cache readings --output guard.json --picture guard.png

Every clip is enhanced once, and scored as it came, mixed half and half, and
enhanced. A curve then belongs to each thing that a guard can watch: its
threshold is moved from passing nothing to passing everything, and for each
threshold the clips are taken enhanced or as they came. For comparison, two
curves that a guard cannot have: the expected one of passing clips at random,
and one that looks at the clean original.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from evaluate import (
    add_data_options,
    check_data_options,
    read_sets,
    run_systems,
)
from tqdm import tqdm

from speechbrain_llase import EnhanceLLaSE, metrics
from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.evaluation.report import write_text
from speechbrain_llase.evaluation.scoring import Scores, Settings, score_clips
from speechbrain_llase.evaluation.summary import summarise, table
from speechbrain_llase.inference.candidates import Candidates
from speechbrain_llase.inference.guard import Guard
from speechbrain_llase.metrics.word_edits import word_share

HALF = "half and half"
WATCHED = {  # what is watched -> its figure, and whether more is more harm
    "gain of DNSMOS, low": ("gain", -1.0),
    "entropy, low": ("entropy", -1.0),
    "entropy, high": ("entropy", 1.0),
    "speaker, low": ("speaker", -1.0),
    "words, many": ("words", 1.0),
    "clean original (no guard has it)": ("added", 1.0),
}


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the report, draw the curves.

    Arguments
    ---------
    arguments : list of str, optional
        Command line; None takes that of the process.

    Returns
    -------
    status : int
        0.
    """
    args = parse(arguments)
    settings = Settings(
        "pocketsphinx",
        "resemblyzer",
        ("pesq", "estoi", "si-sdr", "level"),
        cache=args.cache,
    )
    report = {"source": args.source, "sets": {}}
    for name, clips in read_sets(args).items():
        watch = Watch(args)
        made = watch.enhance(clips)
        scores = list(
            tqdm(score_clips(made, settings, args.jobs), total=len(clips))
        )
        seen = {
            clip.name: watch.look(clip, score)
            for clip, score in zip(watch.made, scores, strict=True)
        }
        report["sets"][name] = {
            "clips": {
                x.clip.name: {**seen[x.clip.name], "scores": x.rows}
                for x in scores
            },
            "curves": curves(scores, seen),
            "guarded": summarise(guard(scores, seen, args.min_gain)),
        }
    write_text(args.output, json.dumps(report, indent=1, allow_nan=False))
    print(tables(report))
    draw(report, args.picture)
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", required=True, help="model folder or name")
    add_data_options(parser)
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    parser.add_argument("--picture", type=Path, required=True, help="PNG file")
    parser.add_argument(
        "--min-gain",
        type=float,
        default=0.25,
        help="of the guard whose means get intervals (default: %(default)s)",
    )
    args = parser.parse_args(arguments)
    check_data_options(parser, args)
    if not args.cache:
        parser.error("--cache is needed: every reading is used twice")
    return args


class Watch:
    """Enhance clips, and look at what a guard would see.

    Arguments
    ---------
    args : argparse.Namespace
        Uses source, device and cache.
    """

    def __init__(self, args: argparse.Namespace):
        self._enhancer = EnhanceLLaSE.from_hparams(
            args.source, run_opts={"device": args.device}
        )
        self._enhancer.guard = Guard()
        self._enhancer.candidates = Candidates()
        reader = metrics.CachedReader(metrics.PocketsphinxReader(), args.cache)
        self._words = metrics.WordDifference(reader)
        self._voices = metrics.SpeakerSimilarity()
        self.made: list[Clip] = []

    def enhance(self, clips: Iterable[Clip]) -> Iterator[Clip]:
        """Yield the clips with all rows; they stay in `made`."""
        reports = []

        def enhanced(noisy: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
            wavs, (report,) = self._enhancer.enhance_batch(
                noisy[None], return_details=True
            )
            reports.append((wavs[0], report))
            return wavs[0]

        systems = {
            "noisy": lambda noisy, clean: noisy,
            "enhanced": enhanced,
            HALF: lambda noisy, clean: (noisy + reports[-1][0]) / 2,
            "clean": lambda noisy, clean: clean,
        }
        for clip in run_systems(clips, systems):
            known = reports[-1][1].details.summary()
            about = {**clip.about, "entropy": known.entropy}
            self.made.append(replace(clip, about=about))
            yield self.made[-1]

    def look(self, clip: Clip, score: Scores) -> dict[str, float]:
        """Measure output against input, as the guard does.

        Arguments
        ---------
        clip : Clip
            With its waves.
        score : Scores
            Of the same clip.

        Returns
        -------
        seen : dict
            Figures by the names in WATCHED; "added", the edits that
            enhancement adds per word, takes the clean original.
        """
        pair = [clip.waves[x] for x in ("enhanced", "noisy")]
        noisy, enhanced = (score.rows[x] for x in ("noisy", "enhanced"))
        edits = enhanced["edits"] - noisy["edits"]
        return {
            "gain": enhanced["OVRL"] - noisy["OVRL"],
            "entropy": clip.about["entropy"],
            "speaker": self._voices(*pair),
            "words": word_share(*(self._words.read(x) for x in pair)),
            "added": edits / max(1, noisy["words"]),
        }


def curves(
    scores: list[Scores], seen: dict[str, dict[str, float]]
) -> dict[str, list[dict[str, float]]]:
    """Move every threshold over all its values.

    Arguments
    ---------
    scores : list of Scores
        Of the rows "noisy", "enhanced" and HALF.
    seen : dict
        Clip to what `Watch.look` gives.

    Returns
    -------
    curves : dict
        What is watched to its points: threshold (the last value that is
        allowed), passed (share of clips), OVRL, P808, dWER and voice.
    """
    drawn = {}
    for name, (key, sign) in WATCHED.items():
        harm = [sign * seen[x.clip.name][key] for x in scores]
        points = []
        for threshold in sorted({np.inf, -np.inf, *harm}, reverse=True):
            rows = ["noisy" if h > threshold else "enhanced" for h in harm]
            limit = sign * threshold if np.isfinite(threshold) else None
            points.append({"threshold": limit, **average(scores, rows)})
        drawn[name] = points
    drawn[HALF] = [{"threshold": None, **average(scores, [HALF] * len(scores))}]
    return drawn


def guard(
    scores: list[Scores], seen: dict[str, dict[str, float]], min_gain: float
) -> list[Scores]:
    """Add a row "guarded": enhanced where DNSMOS gains enough, else noisy."""
    guarded = []
    for score in scores:
        gains = seen[score.clip.name]["gain"] >= min_gain
        row = score.rows["enhanced" if gains else "noisy"]
        guarded.append(replace(score, rows={**score.rows, "guarded": row}))
    return guarded


def average(scores: list[Scores], rows: list[str]) -> dict[str, float]:
    """Mean OVRL and total dWER when each clip is taken from its row."""
    taken = [x.rows[row] for x, row in zip(scores, rows, strict=True)]
    words = sum(x["words"] for x in taken)
    return {
        "passed": rows.count("noisy") / len(rows),
        "OVRL": round(float(np.mean([x["OVRL"] for x in taken])), 4),
        "P808": round(float(np.mean([x["P808"] for x in taken])), 4),
        "dWER": round(sum(x["edits"] for x in taken) / words, 4),
        "voice": round(float(np.mean([x["speaker"] for x in taken])), 4),
    }


def tables(report: dict) -> str:
    """Write a few points of every curve as Markdown tables."""
    lines = []
    for name, found in report["sets"].items():
        lines += [f"\n{name}: {len(found['clips'])} clips\n"]
        lines += [table(found["guarded"]), ""]
        lines += [
            "| watched | passed | threshold | OVRL | P.808 | dWER | speaker |"
        ]
        lines += ["|---|---|---|---|---|---|---|"]
        for watched, points in found["curves"].items():
            for wanted in (0, 0.25, 0.5, 0.75, 1):
                at = min(points, key=lambda p: abs(p["passed"] - wanted))
                limit = at["threshold"]
                shown = "-" if limit is None else f"{limit:.2f}"
                lines.append(
                    f"| {watched} | {at['passed']:.0%} | {shown} | "
                    f"{at['OVRL']:.2f} | {at['P808']:.2f} | {at['dWER']:.2f} | "
                    f"{at['voice']:.2f} |"
                )
                if len(points) == 1:
                    break
    return "\n".join(lines)


def draw(report: dict, path: Path) -> None:
    """Draw the curves of every set."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sets = report["sets"]
    figure = Figure(figsize=(5 * len(sets), 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(sets), squeeze=False)[0]
    for ax, (name, found) in zip(axes, sets.items()):
        for watched, points in found["curves"].items():
            if len(points) > 1:
                ends = [points[k] for k in (0, -1)]
            style = "k^" if len(points) == 1 else ".-"
            dots = [[p[key] for p in points] for key in ("dWER", "OVRL")]
            ax.plot(*dots, style, label=watched, markersize=4, linewidth=1)
        dots = [[p[key] for p in ends] for key in ("dWER", "OVRL")]
        ax.plot(*dots, "k:", linewidth=1, label="clips at random")
        for point, text in zip(ends, ("enhanced", "noisy")):
            ax.annotate(text, (point["dWER"], point["OVRL"]), fontsize=8)
        ax.set_title(f"{name}, {len(found['clips'])} clips", fontsize=10)
        ax.set_xlabel("dWER (lower is better)")
        ax.set_ylabel("DNSMOS OVRL (higher is better)")
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
