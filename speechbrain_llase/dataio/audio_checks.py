"""Which recordings of a list can be used: every file is decoded once.

What cannot be used is named once, left out and counted, and too much of it
stops, before a training begins that would stop at it later.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import soundfile
from speechbrain.utils.logger import get_logger

from speechbrain_llase.dataio.manifests import FILE_KEYS, first_few
from speechbrain_llase.processing.framing import MIN_SAMPLES
from speechbrain_llase.processing.signal_processing import SILENT

logger = get_logger(__name__)
THREADS = 8  # that look into files
SAMPLES_AT_ONCE = 1 << 18  # samples decoded at once


def check_entries(
    entries: dict[str, dict],
    sample_rate: int,
    most_bad: float,
    resample: bool = False,
    longest_s: float = float("inf"),
) -> dict[str, dict]:
    """Decode every file of the entries (ID -> paths) and keep those of use.

    With `resample`, other rates and several channels are taken too:
    `read_speech` will resample and average. Gives the entries with `duration`
    in seconds. A ValueError, if more than the share `most_bad` cannot be used,
    or nothing can.
    """
    return keep_good(
        entries,
        lambda entry: look_into(entry, sample_rate, resample, longest_s),
        most_bad,
    )


def keep_good(
    entries: dict[str, dict],
    look: Callable[[dict], float | str],
    most_bad: float,
) -> dict[str, dict]:
    """Leave out, name and count the entries that cannot be used.

    `look` gives the duration of an entry in seconds, or what is wrong; it is
    run in threads. For the rest see `check_entries`.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        checked = pool.map(look, entries.values())
        results = dict(zip(entries, checked, strict=True))
    bad = [f"{name}: {r}" for name, r in results.items() if isinstance(r, str)]
    if bad:
        summary = f"{len(bad)} of {len(entries)} entries cannot be used"
        if len(bad) > most_bad * len(entries) or len(bad) == len(entries):
            raise ValueError(
                f"{summary}, allowed is a share of {most_bad}: "
                f"{first_few(bad)}. Repair or remove them, or allow more."
            )
        logger.warning("%s and are left out: %s", summary, first_few(bad))
    return {
        name: entries[name] | {"duration": seconds}
        for name, seconds in results.items()
        if not isinstance(seconds, str)
    }


def look_into(
    entry: dict, sample_rate: int, resample: bool, longest_s: float
) -> float | str:
    """Duration of an entry in seconds, or what is wrong with it."""
    paths = [entry[key] for key in FILE_KEYS if key in entry]
    try:
        durations = [measure(path, sample_rate, resample) for path in paths]
    except ValueError as err:
        return str(err)
    if max(durations) - min(durations) > 0.5 / sample_rate:
        return f"clean and noisy last {durations} s, not equally long"
    if durations[0] > longest_s:
        return (
            f"{paths[0]} lasts {durations[0]:.0f} s, longer than longest_s="
            f"{longest_s:g}; cut it into utterances"
        )
    return durations[0]


def measure(path: str, sample_rate: int, resample: bool) -> float:
    """Decode a file to its end: its duration in seconds.

    A ValueError, if it is missing, damaged, cut off, too short, not finite or
    silent, or, unless it is to be resampled, of another rate (Hz).
    """
    if not os.path.isfile(path):
        raise ValueError(f"there is no file {path}")
    count, energy = 0, 0.0
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
            while len(
                block := file.read(SAMPLES_AT_ONCE, "float32", always_2d=True)
            ):
                mono = block.mean(1)
                count, energy = count + len(mono), energy + np.dot(mono, mono)
    except (soundfile.LibsndfileError, OSError) as err:
        raise ValueError(f"{path} cannot be read as audio: {err}") from err
    if count < frames:
        raise ValueError(f"{path} is cut off: {count} of {frames} samples")
    if count < MIN_SAMPLES * rate / sample_rate:
        raise ValueError(f"{path} has {count} samples, too few")
    if not resample and (rate, channels) != (sample_rate, 1):
        raise ValueError(
            f"{path} has {rate} Hz and {channels} channel(s), not "
            f"{sample_rate} Hz and 1"
        )
    if not np.isfinite(energy):
        raise ValueError(f"{path} has NaN or infinite samples")
    if energy / count < SILENT:
        raise ValueError(f"{path} is silent (RMS below -100 dBFS)")
    return count / rate
