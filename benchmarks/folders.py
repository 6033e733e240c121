"""What a file costs in a run over many files, besides its audio.

Writes many tiny files of noise, enhances them with the command's own code and
prints files per second for each tenth of the run, so that a cost that grows
with the number of files would show; then the time that the same command takes
to find that nothing is left to do.

    python benchmarks/folders.py --files 1000 10000
    python benchmarks/folders.py --files 1000 --model identity
    python benchmarks/folders.py --files 8 --seconds 60 --batch-size 4
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.bulk import worker
from speechbrain_llase.cli import parser as cli
from speechbrain_llase.inference.confidence import Posterior
from speechbrain_llase.inference.loading import load_enhancer
from speechbrain_llase.inference.stages import Stages
from speechbrain_llase.processing.framing import HOP_LENGTH, num_rows
from speechbrain_llase.processing.signal_processing import fit_length


def write_files(folder: Path, count: int, seconds: float) -> None:
    """Write WAV files of noise, a hundred in a folder."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(-0.5, 0.5, round(16000 * seconds))
    for k in range(count):
        path = folder / f"{k // 100:04}" / f"{k:06}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.roll(noise, k), 16000)


class Identity(Stages):
    """Every stage hands on what it gets: what is left is the run itself."""

    def extract(self, wavs, plans=None):
        """Cut (T,) into rows of 320 samples."""
        counts = [num_rows(len(wav)) for wav in wavs]
        return [
            fit_length(wav, HOP_LENGTH * n).reshape(n, HOP_LENGTH)
            for wav, n in zip(wavs, counts, strict=True)
        ]

    def score(self, feats, likely=False):
        """Hand the rows on."""
        likely = [torch.zeros(len(rows)) for rows in feats]
        return feats, list(map(Posterior, feats, feats, likely))

    def decode(self, codes):
        """Join the rows."""
        return [rows.flatten() for rows in codes]

    def refine(self, waves, windows):
        """Hand the waves on."""
        return waves


def load_identity(source: str, batch_size: int, **options) -> EnhanceLLaSE:
    """Load a model and take its networks out of the way."""
    model = load_enhancer(source, batch_size=batch_size, **options)
    model.stages = Identity(model.mods, model.hparams, model.device)
    return model


def run(folder: Path, args: argparse.Namespace) -> float:
    """Enhance a folder; return the seconds from command to end."""
    argv = ["enhance", str(folder / "in"), "--output", str(folder / "out")]
    argv += ["--source", args.source, "--device", "cpu"]
    argv += ["--batch-size", str(args.batch_size)]
    start = time.perf_counter()
    if code := cli.main(argv):
        raise SystemExit(f"the run ended with {code}")
    return time.perf_counter() - start


def rates(folder: Path) -> list[float]:
    """Files per second in each tenth of a run, from the outputs' times."""
    times = sorted(path.stat().st_mtime for path in folder.rglob("*.wav"))
    marks = np.array(times)[np.linspace(0, len(times) - 1, 11).astype(int)]
    return list((len(times) - 1) / 10 / np.diff(marks))


def main() -> None:
    """Measure every number of files."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--files", nargs="+", type=int, default=[1000, 10000])
    add("--seconds", type=float, default=0.2)
    add("--source", default="llase_mini")
    add("--model", choices=["real", "identity"], default="real")
    add("--batch-size", type=int, default=1)
    add("--folder", help="where to write (default: the system's for such)")
    args = parser.parse_args()
    if args.model == "identity":
        worker.load_enhancer = load_identity
    for count in args.files:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            folder = Path(folder)
            write_files(folder / "in", count, args.seconds)
            whole_s = run(folder, args)
            found = rates(folder / "out")
            again_s = run(folder, args)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(
            f"{count} files of {args.seconds} s, {args.model}, batches of "
            f"{args.batch_size}: {whole_s:.1f} s with loading, "
            f"{count / whole_s:.1f} files/s; by tenths "
            f"{' '.join(f'{rate:.0f}' for rate in found)} files/s; nothing "
            f"to do: {again_s:.1f} s; peak {peak:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
