"""What a plan of very many files costs, before a model is loaded.

Makes empty files, a thousand in a folder, plans a run over them, and prints
the seconds of CPU and the memory.

    python benchmarks/planning.py --files 1000000 --folder /dev/shm
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from speechbrain_llase.bulk.plan import plan_run


def make_files(folder: Path, count: int) -> None:
    """Make empty files."""
    for k in range(count):
        if k % 1000 == 0:
            (folder / f"{k // 1000:04}").mkdir(parents=True)
        (folder / f"{k // 1000:04}" / f"{k:07}.wav").touch()


def peak_mb() -> float:
    """The most memory that this process has taken."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Measure one number of files."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument(
        "--folder", help="where to write (default: a temporary)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        folder = Path(folder)
        make_files(folder / "in", args.files)
        before_mb, start_s = peak_mb(), time.process_time()
        units = plan_run([str(folder / "in")], str(folder / "out")).units
        print(
            f"{len(units)} files planned in {time.process_time() - start_s:.1f}"
            f" s of CPU; memory {before_mb:.0f} -> {peak_mb():.0f} MB"
        )


if __name__ == "__main__":
    main()
