#!/usr/bin/env python3
"""What it costs to begin: CPU seconds of short commands, each a new process.

    python benchmarks/startup.py [--repeat 5] [--ways enhance all-threads ...] \\
        [--beside CHECKOUT]

Measured are the commands of `WAYS`, in turns, so that a machine that is busy
for a while is so for all of them. Seconds are those of the CPU, user and
system, of all threads together; printed is the median, and its ratio to
`python -c pass` and to `python -c "import torch"`. All but `all-threads` run
with OMP_NUM_THREADS=1 and, on Linux, on one CPU.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CLIP = Path(__file__).parents[1] / "examples" / "noisy.wav"
MAIN = "import sys; from speechbrain_llase.cli import main; sys.exit(main())"
ENHANCE = [MAIN, "enhance", "{clip}", "--output", "out.wav", "--overwrite"]
LOAD = "from speechbrain_llase import EnhanceLLaSE as E; E.from_hparams()"
WAYS = {  # what follows `python -c`
    "pass": ["pass"],
    "torch": ["import torch"],
    "package": ["import speechbrain_llase"],
    "class": ["from speechbrain_llase import EnhanceLLaSE"],
    "model": [LOAD],
    "help": [MAIN, "--help"],
    "enhance-help": [MAIN, "enhance", "--help"],
    "error": [MAIN, "enhance", "{clip}"],
    "enhance": ENHANCE,
    "all-threads": ENHANCE,
    "beside": ENHANCE,
}
FREE = "all-threads"


def main() -> None:
    """Run all ways in turns and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--clip", type=Path, default=CLIP, help="what is enhanced")
    add("--repeat", type=int, default=5, help="runs a way (default: 5)")
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    add(
        "--beside",
        type=Path,
        metavar="FOLDER",
        help="another checkout, with a link from speechbrain_llase/hparams to"
        " ../hparams: its `enhance` is measured, too",
    )
    add("--json", type=Path, help="write all runs here too")
    args = parser.parse_args()
    ways = dict.fromkeys(["pass", "torch", *args.ways])
    ways.pop("beside", None)
    if args.beside:
        ways["beside"] = None
    runs = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        for way in list(ways) * args.repeat:
            runs[way].append(cpu_seconds(way, args, folder))
            print(f"{way}: {runs[way][-1]:.3f} s", file=sys.stderr, flush=True)
    report(runs)
    if args.json:
        args.json.write_text(json.dumps(runs, indent=2) + "\n")


def cpu_seconds(way: str, args: argparse.Namespace, folder: str) -> float:
    """Run a command in a folder of its own; user and system seconds."""
    clip = args.clip.resolve()
    words = [word.format(clip=clip) for word in WAYS[way]]
    environment = {
        k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"
    }
    if way != FREE:
        environment["OMP_NUM_THREADS"] = "1"
    if way == "beside":
        environment["PYTHONPATH"] = str(args.beside.resolve())
    settle = None if way == FREE else stay_on_one_cpu
    expected = 2 if way == "error" else 0
    return time_python(["-c", *words], folder, environment, settle, expected)[0]


def time_python(
    words: list[str], folder: str, environment: dict, settle, expected: int = 0
) -> tuple[float, str]:
    """Run Python: user and system seconds of all of it, and what it printed."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=settle,
    )
    with process.stdout as pipe:
        said = pipe.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        raise RuntimeError(f"{words} ended with {process.returncode}.")
    return usage.ru_utime + usage.ru_stime, said


def stay_on_one_cpu() -> None:
    """Let a process that begins use the first CPU alone, where that is known."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def report(runs: dict[str, list[float]]) -> None:
    """Print the medians, their ratios, and the least and most."""
    medians = {way: statistics.median(some) for way, some in runs.items()}
    bases = medians["pass"], medians["torch"]
    print(f"{'':<14}{'CPU':>8}{'/ pass':>10}{'/ torch':>10}  least to most")
    for way, median in medians.items():
        ratios = "".join(f"{median / base:>10.2f}" for base in bases)
        span = f"{min(runs[way]):.2f} to {max(runs[way]):.2f}"
        print(f"{way:<14}{median:>6.2f} s{ratios}  {span}")
    if {"enhance", FREE} <= medians.keys():
        ratio = medians[FREE] / medians["enhance"]
        print(f"all threads take {ratio:.2f} times the CPU of one")


if __name__ == "__main__":
    main()
