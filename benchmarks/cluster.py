"""What the Ray engine costs beside the local one, with as many threads.

Writes files of noise in bursts, enhances them with the command in processes
of their own: in one process with two threads, with one actor of two threads,
and with two actors of one. Prints the time of the whole command, that to the
first output (starting Ray, loading models) and the speed between the first
and the last output, which is what counts in a long run.

    python benchmarks/cluster.py [--files 32] [--seconds 30]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
ENGINES = {
    "local, 2 threads": ["--threads", "2"],
    "ray, 1 actor of 2 threads": (
        "--engine ray --actors 1 --threads 2".split()
    ),
    "ray, 2 actors of 1 thread": (
        "--engine ray --actors 2 --threads 1".split()
    ),
}


def write_files(folder: Path, count: int, seconds: float) -> None:
    """Write WAV files of noise in bursts."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    samples = round(seconds * RATE)
    bursts = np.sin(np.arange(samples) / 4000).clip(0)
    for k in range(count):
        wave = (0.1 * bursts * rng.standard_normal(samples)).clip(-1, 1)
        soundfile.write(folder / f"{k:04}.wav", wave, RATE)


def run(
    noisy: Path, output: Path, options: list[str]
) -> tuple[float, list[float]]:
    """Run the command; return its seconds, and those until each output."""
    start = time.time()
    subprocess.run(
        [sys.executable, "-m", "speechbrain_llase.cli", "enhance", str(noisy)]
        + ["--output", str(output), "--device", "cpu", *options],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    whole_s = time.time() - start
    times = [path.stat().st_mtime - start for path in output.glob("*.wav")]
    return whole_s, sorted(times)


def main() -> None:
    """Measure every engine."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--files", type=int, default=32)
    add("--seconds", type=float, default=30.0)
    add("--files-per-task", type=int, default=4)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_files(folder / "noisy", args.files, args.seconds)
        for k, (name, options) in enumerate(ENGINES.items()):
            options = [*options, "--files-per-task", str(args.files_per_task)]
            whole_s, times = run(folder / "noisy", folder / str(k), options)
            steady = (len(times) - 1) * args.seconds / (times[-1] - times[0])
            print(
                f"{name}: {whole_s:.1f} s in all, first output after "
                f"{times[0]:.1f} s, then {steady:.1f} s of audio a second",
                flush=True,
            )


if __name__ == "__main__":
    main()
