"""`speechbrain-llase benchmark-dns`: a model on the DNS-2020 test set."""

import argparse
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from speechbrain_llase.cli.common import (
    add_command,
    add_folder,
    add_model_options,
    make_output,
    model_options,
    one_line,
    refuse,
    say,
)
from speechbrain_llase.cli.evaluate import (
    add_measure_options,
    leave_out,
    read_settings,
    score,
)
from speechbrain_llase.inference.loading import load_enhancer

if TYPE_CHECKING:
    from speechbrain_llase.evaluation.programs import System

HEARD = 3  # clips of which a program's delay is found
OWN_ROWS = ("noisy", "enhanced", "clean")  # rows
HELP = """\
Enhance and score the three subsets of the DNS Challenge 2020 (with reverb, no
reverb, real recordings) and print the table of the LLaSE README with a row
for this model. The rows of others are published figures, marked as such.
"""
EPILOG = """\
example:
  git clone -b interspeech2020/master \\
      https://github.com/microsoft/DNS-Challenge
  speechbrain-llase benchmark-dns --source llase --output dns2020 \\
      --testset DNS-Challenge/datasets/test_set

--system puts any other program beside the model, such as
"demucs=python enhance.py {input} {output}"; its rate is converted, its delay
found and removed.

A second table for each subset tells what DNSMOS does not: word changes and
the voice. Subsets that are not in the tree are left out.

exit codes: 0 all clips scored, 1 some could not be, 2 nothing was begun.
"""


def add_parser(subparsers) -> None:
    """Describe the sub-command `benchmark-dns`."""
    summary = "score a model on the DNS-2020 test set"
    parser = add_command(
        subparsers, "benchmark-dns", run, summary, HELP, EPILOG
    )
    add_folder(
        parser, "--testset", "datasets/test_set of the Challenge's repository"
    )
    add_folder(parser, "--output", "folder of the report, made if missing")
    parser.add_argument(
        "--system",
        action="append",
        default=[],
        metavar='"NAME=COMMAND {input} {output}"',
        help="a program to score beside the model; may be given again",
    )
    add_model_options(parser)
    add_measure_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase benchmark-dns`; return the exit code."""
    from speechbrain_llase.evaluation.dns2020 import find_subsets

    scores = {}
    try:
        settings = leave_out(args, read_settings(args))
        subsets = find_subsets(args.testset)
        systems = load_systems(args.system, next(iter(subsets.values())))
        make_output(args.output)
        enhancer = load_enhancer(**model_options(args))
        for name, clips in subsets.items():
            enhanced = enhance(enhancer, systems, clips)
            scores[name] = score(enhanced, settings, args.jobs, name)
    except (ValueError, OSError, ImportError) as err:
        return refuse(f"{one_line(err)} (or see --without)")
    return write_tables(args, scores, settings)


def load_systems(given: list[str], clips: list) -> dict[str, "System"]:
    """Read --system; the first clips tell how late each program is."""
    from speechbrain_llase.evaluation.clips import as_wave
    from speechbrain_llase.evaluation.programs import Program, in_time

    programs = {one.name: one for one in map(Program, given)}
    if len(programs) < len(given) or programs.keys() & OWN_ROWS:
        raise ValueError(
            f"--system needs names of its own, none of {', '.join(OWN_ROWS)}."
        )
    noisy = [as_wave(clip.waves["noisy"]) for clip in clips[:HEARD] if programs]
    return {name: in_time(one, noisy) for name, one in programs.items()}


def enhance(enhancer, systems: dict[str, "System"], clips: list) -> Iterator:
    """Yield every clip with what all systems make of it, noisy first."""
    import torch

    from speechbrain_llase.evaluation.clips import as_wave

    for clip in clips:
        waves = dict(clip.waves)
        try:
            noisy = as_wave(waves.pop("noisy"))
            wave = enhancer.enhance_batch(torch.from_numpy(noisy)[None])[0]
        except ValueError:  # the scorer meets the same file, and says why
            yield clip
            continue
        wave = wave / max(1.0, float(wave.abs().max()))  # as files are written
        first = {"noisy": noisy, "enhanced": wave.cpu().numpy()}
        first |= {name: system(noisy) for name, system in systems.items()}
        yield dataclasses.replace(clip, waves=first | waves)


def write_tables(args: argparse.Namespace, scores: dict, settings) -> int:
    """Write the reports, print the tables; return the exit code."""
    from speechbrain_llase.evaluation.dns2020 import comparison
    from speechbrain_llase.evaluation.report import (
        write_csv,
        write_json,
        write_text,
    )
    from speechbrain_llase.evaluation.summary import summarise, table

    measured = {"noisy": {}, "enhanced": {}}
    measured |= {given.partition("=")[0]: {} for given in args.system}
    lines, failed = [], []
    for name, subset in scores.items():
        summary = summarise(subset)
        skipped = [skip for x in subset for skip in x.skipped]
        failed += [skip for skip in skipped if not skip.row]
        write_csv(args.output / f"{name}.csv", subset)
        file = args.output / f"{name}.json"
        write_json(file, summary, skipped, settings)
        if not summary:
            continue
        lines.append(f"\n{name}: {len(subset)} clips\n\n{table(summary)}")
        for row, subsets in measured.items():
            figures = summary.get(row, {}).items()
            subsets[name] = {key: x["mean"] for key, x in figures}
    names = {"noisy": "Unprocessed", "enhanced": args.source}
    measured = {names.get(row, row): x for row, x in measured.items()}
    lines.insert(0, comparison(measured))
    write_text(args.output / "tables.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    for skip in failed:
        say(f"skipped: {skip.clip}: {skip.reason}")
    return 1 if failed else 0
