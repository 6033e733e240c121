"""What the knob does: opinion and words between faithful and generative.

    python benchmarks/generative.py --output FOLDER --clips FOLDER ...
    python benchmarks/generative.py --output FOLDER --data DATA

A folder of clips has noisy/ and clean/ with files of the same names; DATA is
the folder of the recipe of llase_mini, from which the mixtures of the tables
are made. Written are generative.json (means and 95 % intervals by set and
place of the knob), a CSV a set, and generative.png.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from peer_sets import as_files, read, read_sets, to_file

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.evaluation.report import write_csv, write_text
from speechbrain_llase.evaluation.scoring import Settings, score_clips
from speechbrain_llase.evaluation.summary import summarise, table

PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
PANELS = {"OVRL": "DNSMOS OVRL", "dWER": "word edits a word"}
WITHOUT = ("si-sdr", "level", "speaker")


def main() -> None:
    """Enhance at every place of the knob, score, and draw."""
    args = parse()
    torch.set_num_threads(1)
    args.output.mkdir(parents=True, exist_ok=True)
    model = EnhanceLLaSE.from_hparams(
        args.source,
        run_opts={"device": "cpu"},
        overrides={"refine": True} if args.refine else {},
    )
    settings = Settings(
        args.asr, "resemblyzer", (*WITHOUT, *args.without), cache=args.cache
    )
    sets = {folder.name: read_clips(folder) for folder in args.clips}
    if args.data:
        sets |= read_sets(args.data, args.sets)
    report = {}
    for name, clips in sets.items():
        turned = turn(model, clips[: args.number], args.places)
        scores = list(score_clips(turned, settings, args.jobs))
        report[name] = summarise(scores)
        write_csv(args.output / f"{name}.csv", scores)
        print(f"{name}: {len(scores)} clips\n{table(report[name])}", flush=True)
    write_text(
        args.output / "generative.json", json.dumps(report, indent=1) + "\n"
    )
    draw(report, args.output / "generative.png")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--output", type=Path, required=True)
    add("--source", default="llase_mini")
    add("--refine", action="store_true", help="by the refiner of llase_mini")
    add("--clips", type=Path, nargs="+", default=[])
    add("--data", type=Path)
    add("--sets", nargs="+", default=["mixtures", "rooms"])
    add("--number", type=int, help="of clips of each set (default: all)")
    add("--places", type=float, nargs="+", default=PLACES, help="of the knob")
    add("--asr", default="whisper")
    add("--cache", type=Path, help="folder that keeps the readings")
    add("--without", nargs="+", default=[], help="measures to leave out")
    add("--jobs", type=int, default=1, help="processes that score")
    return parser.parse_args()


def read_clips(folder: Path) -> list[Clip]:
    """Read the clips of a folder with noisy/ and clean/."""
    return [
        as_files(
            file.stem,
            {row: read(folder / row / file.name) for row in ("noisy", "clean")},
        )
        for file in sorted((folder / "noisy").iterdir())
    ]


def turn(
    model: EnhanceLLaSE, clips: list[Clip], places: list[float]
) -> Iterator[Clip]:
    """Give every clip a row a place of the knob."""
    models = {str(place): model.having(generative=place) for place in places}
    for clip in clips:
        noisy = torch.from_numpy(clip.waves["noisy"])[None]
        waves = {
            row: to_file(one.enhance_batch(noisy)[0].numpy())
            for row, one in models.items()
        }
        first = {"noisy": clip.waves["noisy"], **waves}
        yield dataclasses.replace(
            clip, waves=first | {"clean": clip.waves["clean"]}
        )


def draw(report: dict, file: Path) -> None:
    """Draw a panel a measure, a line a set; the noisy input is dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    axes = figure.subplots(1, len(PANELS))
    for axis, (measure, title) in zip(axes, PANELS.items(), strict=True):
        for k, (name, summary) in enumerate(report.items()):
            rows = [x for x in summary if x not in ("noisy", "clean")]
            found = [summary[row].get(measure) for row in rows]
            if not all(found):
                continue
            colour, places = f"C{k}", [float(row) for row in rows]
            low, high = ([x[end] for x in found] for end in ("low", "high"))
            means = [x["mean"] for x in found]
            axis.plot(places, means, "o-", color=colour, label=name)
            axis.fill_between(places, low, high, color=colour, alpha=0.12, lw=0)
            noisy = summary["noisy"][measure]["mean"]
            axis.axhline(noisy, color=colour, ls="--", lw=0.8)
        axis.set(xlabel="generative", ylabel=title)
    axes[0].legend(frameon=False)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
