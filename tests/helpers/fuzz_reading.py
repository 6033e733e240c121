"""Read files with mutated bytes: > fuzz_reading.py FOLDER COUNT SECONDS.

Prints how many were tried, refused and read; fails where one gives more than
there is, or anything but a ValueError.
"""

import io
import sys
import time
from pathlib import Path

import numpy as np

from speechbrain_llase.dataio.audio_reader import read_blocks
from speechbrain_llase.dataio.sound_file import open_sound


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Change bytes of the header or the body, cut, or repeat a part."""
    data = bytearray(data)
    kind = rng.integers(4)
    top = min(len(data), 512) if kind < 2 else len(data)
    for place in rng.integers(0, top, rng.integers(1, 9)):
        data[place] = rng.integers(256)
    if kind == 3:
        start, stop = sorted(rng.integers(0, len(data), 2))
        del data[start : min(stop, start + 300)]
    return bytes(data)


def measure(data: bytes) -> int:
    """Samples of all channels, before any resampling."""
    with open_sound(io.BytesIO(data)) as sound:
        rate, channels = sound.rate, sound.channels
    blocks = read_blocks(io.BytesIO(data), 16000, warn=lambda text: None)
    seconds = sum(map(len, blocks)) / 16000
    return round(seconds * rate * channels)


def main(folder: str, count: str, limit_s: str) -> None:
    """Run until as many were tried or the time is over."""
    files = [(p, p.read_bytes()) for p in sorted(Path(folder).iterdir())]
    most = {path: measure(data) for path, data in files}
    rng, start, refused, tried = np.random.default_rng(0), time.time(), 0, 0
    for tried in range(1, int(count) + 1):
        if time.time() - start > float(limit_s):
            break
        path, data = files[tried % len(files)]
        try:
            samples = measure(mutate(data, rng))
        except ValueError:
            refused += 1
            continue
        if samples > MARGIN.get(path.suffix, 1) * most[path] + 20000:
            raise SystemExit(f"{path}: {samples} samples, not {most[path]}")
    print(f"{tried} tried, {refused} refused")


# by how much fields that say how samples are coded may change their number
MARGIN = {".wav": 4, ".aif": 4, ".caf": 4, ".w64": 4, ".au": 4}

if __name__ == "__main__":
    main(*sys.argv[1:])
