"""What the knob does: opinion and words between faithful and generative.

    python benchmarks/generative.py --output FOLDER --data DATA
    python benchmarks/generative.py --output FOLDER --clips FOLDER ...

DATA is the folder of the recipe of llase_mini, from which the development
set, the mixtures of the tables and the real clips are made; any other folder of
clips has noisy/ and clean/ with files of the same names. Each clip is decoded
once and refined at every place of the knob. Written are generative.json
(means and 95 % intervals by set and place), tables.md, generative.png, and
a file a clip: what was scored is not scored again, so that a run that was broken
off goes on. Take a new folder for other weights or another recogniser.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from peer_sets import as_files, read, read_sets, to_file
from tqdm import tqdm

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.evaluation.report import write_text
from speechbrain_llase.evaluation.scoring import Scores, Settings, score_clips
from speechbrain_llase.evaluation.summary import Summary, summarise, table

PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
SETS = ("development", "mixtures", "dns")
PANELS = {"OVRL": "DNSMOS OVRL", "dWER": "word edits a word"}
TITLES = {
    "development": "development mixtures",
    "mixtures": "mixtures of the tables",
    "dns": "clips of DNS-2020",
}
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
    sets = {folder.name: read_clips(folder) for folder in args.clips}
    if args.data:
        sets |= read_sets(args.data, args.sets)
    report = {
        name: measure(model, clips[: args.number], args.output / name, args)
        for name, clips in sets.items()
    }
    text = json.dumps(report, indent=1) + "\n"
    write_text(args.output / "generative.json", text)
    write_text(args.output / "tables.md", tables(report))
    draw(report, args.output / "generative.png")
    print(tables(report))


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
    add("--sets", nargs="+", default=SETS, help="of --data; also: rooms")
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


def measure(
    model: EnhanceLLaSE,
    clips: list[Clip],
    folder: Path,
    args: argparse.Namespace,
) -> Summary:
    """Score what the folder does not hold yet; give the means of all."""
    folder.mkdir(exist_ok=True)
    clips = [
        dataclasses.replace(
            clip, waves={row: clip.waves[row] for row in ("noisy", "clean")}
        )
        for clip in clips
    ]
    new = [x for x in clips if not (folder / f"{x.name}.json").is_file()]
    settings = Settings(
        args.asr, "resemblyzer", (*WITHOUT, *args.without), cache=args.cache
    )
    turned = turn(model, new, args.places)
    scored = score_clips(turned, settings, args.jobs) if new else ()
    for score in tqdm(scored, total=len(new), desc=folder.name, unit="clip"):
        text = json.dumps(score.rows, indent=1) + "\n"
        write_text(folder / f"{score.clip.name}.json", text)
    scores = []
    for clip in clips:
        rows = json.loads((folder / f"{clip.name}.json").read_text("utf-8"))
        scores.append(Scores(clip, rows, []))
    return summarise(scores)


@torch.no_grad()
def turn(
    model: EnhanceLLaSE, clips: list[Clip], places: list[float]
) -> Iterator[Clip]:
    """Give every clip a row a place of the knob."""
    stages = model.stages
    turned = {f"{x:g}": stages.having(generative=x) for x in places}
    for clip in clips:
        noisy = torch.from_numpy(clip.waves["noisy"])
        plans = [stages.plan(noisy)]
        windows = stages.cut([noisy], plans)
        codes, _ = stages.score(stages.extract(windows, plans))
        decoded, waves = stages.decode(codes), {"noisy": clip.waves["noisy"]}
        for row, one in turned.items():
            refined = one.refine(decoded, windows)
            (wave,) = one.restore(refined, plans, [noisy])
            waves[row] = to_file(wave.numpy())
        clean = clip.waves["clean"]
        yield dataclasses.replace(clip, waves=waves | {"clean": clean})


def tables(report: dict[str, Summary]) -> str:
    """Write the means as Markdown, a table a set."""
    return "\n".join(
        f"{name}\n\n{table(summary, with_interval=False)}\n"
        for name, summary in report.items()
    )


def draw(report: dict[str, Summary], file: Path) -> None:
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
            label = f"{found[0]['num']} {TITLES.get(name, name)}"
            axis.plot(places, means, "o-", ms=4, color=colour, label=label)
            axis.fill_between(places, low, high, color=colour, alpha=0.12, lw=0)
            noisy = summary["noisy"][measure]["mean"]
            axis.axhline(noisy, color=colour, ls="--", lw=0.8)
        axis.set(xlabel="generative", ylabel=title)
        axis.grid(alpha=0.3)
    axes[-1].legend(fontsize=8)
    figure.savefig(file, dpi=100)


if __name__ == "__main__":
    main()
