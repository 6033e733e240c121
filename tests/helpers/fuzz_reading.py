"""Read files with mutated bytes: > fuzz_reading.py FOLDER COUNT [FIRST].

Prints how many were tried, read and refused, and which took longest. Fails
where one gives more than there is, anything but a ValueError, or nothing for
half a minute; the number of the case is told, by which FIRST runs it alone.
"""

import faulthandler
import io
import sys
import time
from pathlib import Path

import numpy as np

from speechbrain_llase.dataio.audio_reader import read_blocks
from speechbrain_llase.dataio.sound_file import open_sound

LONGEST_S = 30  # for one file
# by how much fields that say how samples are coded may change their number
MARGIN = {".wav": 4, ".aif": 4, ".caf": 4, ".w64": 4, ".au": 4}


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


def try_case(case: int, path: Path, data: bytes, most: int) -> bool:
    """Tell whether a mutated file was read; a SystemExit if it gave too much."""
    faulthandler.dump_traceback_later(LONGEST_S, exit=True)
    try:
        samples = measure(mutate(data, np.random.default_rng(case)))
    except ValueError:
        return False
    except BaseException:
        print(f"case {case}, {path.name}", file=sys.stderr)
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
    if samples > MARGIN.get(path.suffix, 1) * most + 20000:
        raise SystemExit(
            f"case {case}, {path.name}: {samples} samples, not {most}"
        )
    return True


def main(folder: str, count: str, first: str = "0") -> None:
    """Run so many cases."""
    faulthandler.enable()
    files = [(p, p.read_bytes()) for p in sorted(Path(folder).iterdir())]
    most = [measure(data) for _, data in files]
    read, longest, slowest = 0, 0.0, ""
    for case in range(int(first), int(first) + int(count)):
        path, data = files[case % len(files)]
        begin = time.monotonic()
        read += try_case(case, path, data, most[case % len(files)])
        spent = time.monotonic() - begin
        if spent > longest:
            longest, slowest = spent, f"{path.name}, case {case}"
    print(
        f"{count} tried of {len(files)} files: {read} read, "
        f"{int(count) - read} refused; at most {longest:.2f} s ({slowest})"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
