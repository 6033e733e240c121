#!/usr/bin/env python3
"""Sirens: a kind of noise that llase_mini never met, for the README's proof.

To run this script, do the following:
> python make_sirens.py SIRENS

SIRENS gets the folders `train` (40 files of 8 s), `valid` (12) and `test` (20).
Every file is a siren of its own: lowest and highest tone, turns a second,
wail, yelp or two tones, and harmonics are drawn at random, the same for
everyone.
"""

import sys
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000  # Hz
SECONDS = 8
SEED = 9
COUNTS = {"train": 40, "valid": 12, "test": 20}


def main(arguments: list[str]) -> int:
    """Write the three folders."""
    if len(arguments) != 1:
        print("usage: make_sirens.py FOLDER", file=sys.stderr)
        return 2
    rng = np.random.default_rng(SEED)
    for part, count in COUNTS.items():
        folder = Path(arguments[0]) / part
        folder.mkdir(parents=True, exist_ok=True)
        for k in range(count):
            wave = siren(SECONDS * RATE, rng)
            soundfile.write(folder / f"siren{k:02d}.flac", wave, RATE)
    return 0


def siren(num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw one siren (num_samples,), float32, with an RMS of -20 dBFS."""
    time = np.arange(num_samples) / RATE
    low = rng.uniform(400, 900)
    high = low * rng.uniform(1.3, 2.2)
    speed = rng.uniform(0.2, 4)  # turns a second
    turn = (time * speed + rng.random()) % 1
    kinds = {
        "wail": 0.5 + 0.5 * np.sin(2 * np.pi * turn),
        "yelp": turn,
        "two-tone": (turn > 0.5).astype(float),
    }
    pitch = low + (high - low) * kinds[str(rng.choice(list(kinds)))]
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    wave = sum(
        np.sin(k * phase + rng.uniform(0, 6)) * k ** -rng.uniform(0.5, 2)
        for k in range(1, 9)
        if k * high < 7500
    )
    return (0.1 * wave / np.sqrt(np.mean(wave**2))).astype("f4")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
