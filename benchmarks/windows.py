#!/usr/bin/env python3
"""What windows cost: speed, token agreement and steps at the seams.

    python benchmarks/windows.py --audio FOLDER [--source llase_mini]

The files of FOLDER are joined to one of `--seconds`. Every setting is run on
it, and compared with one window over the whole: share of equal tokens, and
the jump of the spectrum at seams beside the jump everywhere else.
"""

import argparse
import time
from pathlib import Path

import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.dataio.recordings import load_folder

SETTINGS = [  # window_s, context_s, crossfade_s, context_from
    (10.0, 2.0, 0.0, "joined"),
    (10.0, 2.0, 0.0, "own"),
    (10.0, 2.0, 0.04, "own"),
    (10.0, 1.0, 0.04, "own"),
    (10.0, 0.5, 0.04, "own"),
    (10.0, 0.0, 0.0, "own"),
    (20.0, 1.0, 0.04, "own"),
    (20.0, 2.0, 0.04, "own"),
    (5.0, 1.0, 0.04, "own"),
    (5.0, 2.0, 0.04, "own"),
]


def load_long(folder: Path, seconds: float, sample_rate: int) -> torch.Tensor:
    """Join the files of a folder, again and again, to (1, T).

    The first 3.7 s are left out, so that seams of windows do not fall on the
    ends of files that are a whole number of seconds long.
    """
    once = torch.cat(load_folder(folder, sample_rate))
    first, count = int(3.7 * sample_rate), int(seconds * sample_rate)
    long = once.repeat((first + count) // len(once) + 1)
    return long[None, first : first + count]


def spectral_jumps(wav: torch.Tensor) -> torch.Tensor:
    """Mean absolute change in dB between 20 ms frames, one each 20 ms.

    Bins under -60 dB of the loudest count as -60 dB, so that pauses do not
    decide.
    """
    spectrum = torch.stft(
        wav, 512, 320, 320, torch.hann_window(320), return_complex=True
    ).abs()
    level = 20 * torch.log10(spectrum.clamp(min=spectrum.max() / 1000))
    return level.diff(dim=-1).abs().mean(0)


def measure(
    model: EnhanceLLaSE, noisy: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Tokens, wave and seconds per second of audio."""
    start = time.perf_counter()
    enhanced = model.enhance_batch(noisy)[0]
    spent = time.perf_counter() - start
    rate = model.hparams.sample_rate
    return (
        model.predict_tokens(noisy)[0],
        enhanced,
        spent / noisy.shape[1] * rate,
    )


def main() -> None:
    """Print one line a setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", required=True, type=Path)
    parser.add_argument("--source", default="llase_mini")
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    keys = ("window_s", "context_s", "crossfade_s", "context_from")

    def load(setting):
        return EnhanceLLaSE.from_hparams(
            args.source,
            overrides=dict(zip(keys, setting, strict=True)),
            run_opts={"device": "cpu"},
        )

    whole = load((args.seconds, 0.0, 0.0, "own"))
    noisy = load_long(args.audio, args.seconds, whole.hparams.sample_rate)
    whole.enhance_batch(noisy[:, :32000])  # warm-up
    expected, _, factor = measure(whole, noisy)
    print("window context fade scheme   s/s    tokens  jump at seams / inside")
    print(f"one window over all         {factor:.3f}")
    for setting in SETTINGS:
        if whole.stages.refines and setting[-1] == "joined":
            continue  # a refiner hears the audio of each window
        tokens, enhanced, factor = measure(load(setting), noisy)
        same = (tokens == expected).float().mean()
        jumps = spectral_jumps(enhanced)
        seams = torch.zeros(len(jumps), dtype=torch.bool)
        rows = int(setting[0] * 50)
        for seam in range(rows, len(jumps) - 2, rows):
            seams[seam - 1 : seam + 2] = True
        inside = jumps[~seams].mean()
        print(
            "{:5.1f} {:6.1f} {:6.2f} {:7s}".format(*setting),
            f"{factor:.3f}  {same:6.1%}",
            f"{jumps[seams].mean():6.2f} / {inside:.2f} dB",
        )


if __name__ == "__main__":
    main()
