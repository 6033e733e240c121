#!/usr/bin/env python3
"""A model without PyTorch beside the same with it: size, start-up, speed.

    python benchmarks/export.py [--source llase_mini] [--repeat 5]

The model is exported in float32 and in int8. Measured in turns are seconds of
CPU, on one thread: those of whole processes that enhance one file, beside
`import numpy, onnxruntime`, and those of the enhancing alone, when a file has
been enhanced before. Printed are medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from startup import stay_on_one_cpu, time_python

CLIP = Path(__file__).parents[1] / "examples" / "noisy.wav"
MAIN = "import sys; from speechbrain_llase.cli import main; sys.exit(main())"
TIMED = """
import sys, time
{opening}
enhance()
start = time.process_time()
enhance()
print(time.process_time() - start)
"""
PYTORCH = """
import torch, soundfile
from speechbrain_llase import EnhanceLLaSE
torch.set_num_threads(1)
model = EnhanceLLaSE.from_hparams({source!r}, run_opts={{"device": "cpu"}})
wav = torch.from_numpy(soundfile.read({clip!r}, dtype="float32")[0])[None]
enhance = lambda: model.enhance_batch(wav)
"""
EXPORTED = """
sys.path.insert(0, {folder!r})
from enhance import ExportedModel, read_wave
model = ExportedModel({folder!r}, threads=1)
wav = read_wave({clip!r}, model.settings["sample_rate"])
enhance = lambda: model(wav)
"""
BARE = "numpy, onnxruntime"


def main() -> None:
    """Export, run all ways in turns, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--source", default="llase_mini", help="a model (default: llase_mini)")
    add("--clip", type=Path, default=CLIP, help="a WAV file at its rate")
    add("--repeat", type=int, default=5, help="runs a way (default: 5)")
    add("--json", type=Path, help="write all runs here too")
    args = parser.parse_args()
    args.clip = args.clip.resolve()
    with tempfile.TemporaryDirectory() as folder:
        ways = describe(args, Path(folder))
        runs = {way: {"process": [], "alone": []} for way in ways}
        for way in list(ways) * args.repeat:
            whole, alone = ways[way]
            runs[way]["process"].append(cpu_seconds(whole, folder)[0])
            if alone:
                seconds = cpu_seconds(["-c", alone], folder)[1]
                runs[way]["alone"].append(float(seconds))
            print(way, runs[way], file=sys.stderr, flush=True)
        report(runs, args.clip, Path(folder))
    if args.json:
        args.json.write_text(json.dumps(runs, indent=2) + "\n")


def describe(args: argparse.Namespace, folder: Path) -> dict:
    """Export; give each way's command, and what times it without start-up."""
    ways = {BARE: (["-c", f"import {BARE}"], None)}
    clip, out = str(args.clip), str(folder / "out.wav")
    fill = {"source": args.source, "clip": clip}
    enhance = ["enhance", clip, "--output", out, "--overwrite"]
    ways["PyTorch"] = (
        ["-c", MAIN, *enhance, "--source", args.source],
        TIMED.format(opening=PYTORCH.format(**fill)),
    )
    for compute in ("float32", "int8"):
        made = str(folder / compute)
        words = ["export", args.source, "--output", made, "--compute", compute]
        subprocess.run([sys.executable, "-c", MAIN, *words], check=True)
        opening = EXPORTED.format(folder=made, clip=clip)
        ways[f"exported, {compute}"] = (
            [f"{made}/enhance.py", clip, out, "--threads", "1"],
            TIMED.format(opening=opening),
        )
    return ways


def cpu_seconds(words: list[str], folder: str) -> tuple[float, str]:
    """Run Python on one thread: user and system seconds, and what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return time_python(words, folder, environment, stay_on_one_cpu)


def report(runs: dict, clip: Path, folder: Path) -> None:
    """Print medians: sizes, processes and their ratio, seconds a second."""
    import soundfile

    length = soundfile.info(clip).duration
    bare = statistics.median(runs[BARE]["process"])
    print(f"| {length:.1f} s | size | process | times `{BARE}` | alone, s/s |")
    print("|---|---|---|---|---|")
    for way, seconds in runs.items():
        files = folder.glob(f"{way.rpartition(' ')[2]}/*.onnx*")
        size = sum(file.stat().st_size for file in files) / 1e6
        size = f"{size:.0f} MB" if size else ""
        whole, alone = seconds["process"], seconds["alone"]
        whole = statistics.median(whole)
        rate = f"{statistics.median(alone) / length:.3f}" if alone else ""
        ratio = whole / bare
        print(f"| {way} | {size} | {whole:.2f} s | {ratio:.1f} | {rate} |")


if __name__ == "__main__":
    main()
