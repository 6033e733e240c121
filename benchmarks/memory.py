"""Peak memory over the length of a file, for `stream_file`.

Each file is synthetic noise in bursts, written beforehand, and enhanced in a
process of its own.

    python benchmarks/memory.py --minutes 1 10 60
    python benchmarks/memory.py --minutes 1 60 --rate 44100 --channels 2 \\
        --format flac
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile


def write_noise(path: Path, minutes: float, rate: int, channels: int) -> None:
    """Write noise in bursts, ten seconds at a time."""
    rng = np.random.default_rng(0)
    count = 10 * rate
    level = 0.05 + 0.1 * (np.sin(np.arange(count) / rate * 4) > 0)
    with soundfile.SoundFile(str(path), "w", rate, channels) as file:
        for _ in range(round(6 * minutes)):
            noise = rng.standard_normal((count, channels))
            file.write(level[:, None] * noise)


def measure(source: str, path: Path, target: Path) -> tuple[float, float]:
    """Return the peak memory in bytes and the seconds of work."""
    from speechbrain_llase import EnhanceLLaSE

    model = EnhanceLLaSE.from_hparams(source, run_opts={"device": "cpu"})
    start = time.perf_counter()
    model.stream_file(path, target)
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * peak, took


def main() -> None:
    """Measure every length and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--source", default="llase_mini")
    add("--minutes", nargs="+", type=float, default=[1, 10, 60])
    add("--rate", type=int, default=16000)
    add("--channels", type=int, default=1)
    add("--format", default="wav", choices=["wav", "flac"])
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    first = None
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool,
    ):
        for minutes in args.minutes:
            path = Path(folder) / f"in.{args.format}"
            write_noise(path, minutes, args.rate, args.channels)
            target = Path(folder) / "out.wav"
            work = pool.submit(measure, args.source, path, target)
            peak, took = work.result()
            first = first or peak
            print(
                f"{args.source} {minutes:5g} min, {args.rate} Hz, "
                f"{args.channels} channels, {args.format}: peak "
                f"{peak / 1e6:.0f} MB ({peak / first:.3f} of the first), "
                f"{took / minutes / 60:.4f} s/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
