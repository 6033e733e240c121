"""Enhance one file; show, score and time the result. `make demo` runs this."""

import argparse
import sys
import time
from pathlib import Path

import torch
from speechbrain.dataio import audio_io

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.evaluation.plot import plot_enhancement
from speechbrain_llase.evaluation.plot_data import track_wave
from speechbrain_llase.metrics import DNSMOS

HERE = Path(__file__).parent


def main(argv: list[str] | None = None) -> int:
    """Run the demonstration.

    Arguments
    ---------
    argv : list[str] | None
        Arguments; those of the command line if None.

    Returns
    -------
    int
        0, or 1 if the file, the model or the folder cannot be used.
    """
    args = parse_arguments(argv)
    try:
        run(args.noisy, args.output, args.source)
    except (ValueError, OSError, ImportError) as err:
        print(f"demo: {' '.join(str(err).split())}", file=sys.stderr)
        return 1
    return 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--noisy",
        type=Path,
        default=HERE / "noisy.wav",
        help="audio file to enhance (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo"),
        help="folder for enhanced.wav and picture.png",
    )
    parser.add_argument(
        "--source",
        default="llase_mini",
        help="packaged model, folder, URL or hub id (default: %(default)s)",
    )
    return parser.parse_args(argv)


def run(path: Path, output: Path, source: str) -> None:
    """Enhance a file, write wave and picture, print the table.

    Arguments
    ---------
    path : Path
        Noisy audio.
    output : Path
        Folder to write to; made if missing.
    source : str
        Model, as `EnhanceLLaSE.from_hparams` takes it.
    """
    enhancer = EnhanceLLaSE.from_hparams(
        source=source, run_opts={"device": "cpu"}
    )
    score = DNSMOS()
    enhanced, processing_s = enhance_timed(enhancer, path)
    noisy = enhancer.load_audio(str(path))
    noisy = noisy / noisy.abs().max().clamp(min=1)  # resampling may overshoot
    sample_rate = enhancer.hparams.sample_rate
    before, after = score(noisy, sample_rate), score(enhanced, sample_rate)

    output.mkdir(parents=True, exist_ok=True)
    wave, picture = output / "enhanced.wav", output / "picture.png"
    audio_io.save(str(wave), enhanced.unsqueeze(0), sample_rate)
    _, report = enhancer.enhance_file(path, return_details=True)
    tracks = [track_wave(wav, sample_rate) for wav in (noisy, enhanced)]
    entropy = report.details.entropy.numpy()
    plot_enhancement(*tracks, picture, entropy, title=f"{path.name}, {source}")

    audio_s = len(noisy) / sample_rate
    print_scores(before, after)
    print(f"\naudio             {audio_s:8.2f} s")
    print(f"processing        {processing_s:8.2f} s (CPU)")
    print(f"real-time factor  {processing_s / audio_s:8.3f}")
    print(f"\n{wave}\n{picture}")


def enhance_timed(
    enhancer: EnhanceLLaSE, path: Path
) -> tuple[torch.Tensor, float]:
    """Enhance a file and time it.

    Arguments
    ---------
    enhancer : EnhanceLLaSE
        The model.
    path : Path
        Noisy audio.

    Returns
    -------
    enhanced : torch.Tensor
        Wave (T,), float, 16 kHz.
    processing_s : float
        Wall time in seconds, reading included; a warm-up on one second of
        noise comes before.
    """
    enhancer.enhance_batch(torch.randn(1, enhancer.hparams.sample_rate))
    start = time.perf_counter()
    enhanced = enhancer.enhance_file(path)
    return enhanced, time.perf_counter() - start


def print_scores(before: dict[str, float], after: dict[str, float]) -> None:
    """Print DNSMOS of input and output.

    Arguments
    ---------
    before : dict[str, float]
        Scores of the input: SIG, BAK, OVRL, P808.
    after : dict[str, float]
        Those of the output.
    """
    names = ("SIG", "BAK", "OVRL", "P808")
    print("DNSMOS    " + "".join(f"{name:>8}" for name in names))
    for label, scores in (("noisy", before), ("enhanced", after)):
        row = "".join(f"{scores[name]:8.2f}" for name in names)
        print(f"{label:<10}{row}")


if __name__ == "__main__":
    sys.exit(main())
