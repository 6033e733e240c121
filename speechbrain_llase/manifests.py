"""Lists of recordings: folders, CSV and JSON in, one checked list out.

An entry is a dict with `clean_wav` (or `wav`), perhaps `noisy_wav`, and
`duration` in seconds. Files are decoded once, when a list is made: what cannot
be used is named once, left out and counted, and too much of it stops.

Authors
 * The speechbrain_llase contributors 2026
"""

import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from speechbrain.utils.logger import get_logger

from speechbrain_llase.files import AUDIO_SUFFIXES
from speechbrain_llase.frontend import MIN_SAMPLES
from speechbrain_llase.mixture import SILENT

logger = get_logger(__name__)
FILE_KEYS = ("clean_wav", "noisy_wav", "wav")
SHOWN = 10  # files named in a message; the others are counted
THREADS = 8  # that look into files
BLOCK = 1 << 18  # samples decoded at once


def list_folder(folder: str | Path, key: str = "clean_wav") -> dict[str, dict]:
    """List the audio below a folder.

    Arguments
    ---------
    folder : str or Path
        Searched to the bottom, hidden files left out.
    key : str
        The entry's name of the file.

    Returns
    -------
    entries : dict
        Path below the folder, without its ending -> {key: path}.

    Raises
    ------
    FileNotFoundError
        There is no such folder, or no audio in it.
    ValueError
        Two files differ in their ending alone.
    """
    folder = Path(folder)
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and path.name[0] != "."
    )
    if not files:
        raise FileNotFoundError(
            f"There is no audio below {folder}; name a folder with files like "
            "speech.wav or speech.flac."
        )
    entries = {}
    for path in files:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in entries:
            raise ValueError(
                f"{entries[name][key]} and {path} have the same name but for "
                "the ending; rename or remove one of them."
            )
        entries[name] = {key: str(path)}
    return entries


def pair_folders(clean: str | Path, noisy: str | Path) -> dict[str, dict]:
    """List recordings that have the same name in two folders.

    Arguments
    ---------
    clean, noisy : str or Path
        Folders.

    Returns
    -------
    entries : dict
        As `list_folder`, with clean_wav and noisy_wav; a name that only one
        folder has is left out, with a warning.

    Raises
    ------
    ValueError
        No name is in both.
    """
    ours, theirs = list_folder(clean), list_folder(noisy, "noisy_wav")
    alone = sorted(ours.keys() ^ theirs.keys())
    both = {name: ours[name] | theirs[name] for name in ours if name in theirs}
    if not both:
        raise ValueError(
            f"No file of {clean} has the name of one of {noisy}; a recording "
            "and its clean original need the same name."
        )
    if alone:
        logger.warning(
            "Only in one of %s and %s, left out: %s", clean, noisy, some(alone)
        )
    return both


def read_manifest(path: str | Path, data_root: str = "") -> dict[str, dict]:
    """Read a list in one of SpeechBrain's forms.

    Arguments
    ---------
    path : str or Path
        A folder (see `list_folder`); a .csv file with the columns ID and
        wav, clean_wav, noisy_wav; or a .json file {id: {...}}.
    data_root : str
        Put in the place of `$data_root` and `{data_root}`.

    Returns
    -------
    entries : dict
        ID -> the files' paths, and duration (or length) in seconds where it
        is given; a column wav is called clean_wav.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is of no known form, or gives an ID twice.
    """
    path = Path(path)
    if path.is_dir():
        return list_folder(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}; name a folder of audio, a .csv or a .json."
        )
    if path.suffix == ".json":
        text = path.read_text(encoding="utf-8")
        rows = json.loads(text, object_pairs_hook=list)
        rows = [(name, dict(row)) for name, row in rows]
    elif path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            rows = [(row.get("ID", ""), row) for row in table]
    else:
        raise ValueError(f"{path} is neither a folder nor .csv nor .json.")
    entries = {}
    for name, row in rows:
        files = {
            "clean_wav" if key == "wav" else key: row[key]
            .replace("$data_root", data_root)
            .replace("{data_root}", data_root)
            for key in FILE_KEYS
            if row.get(key)
        }
        if not name or "clean_wav" not in files:
            raise ValueError(
                f"{path}: the entry {name or row!r} needs an ID and a file "
                "under clean_wav or wav."
            )
        if name in entries:
            raise ValueError(
                f"{path}: the ID {name!r} is given to "
                f"{entries[name]['clean_wav']} and to {files['clean_wav']}; "
                "give every recording its own."
            )
        seconds = row.get("duration") or row.get("length")
        if seconds:
            files["duration"] = float(seconds)
        entries[name] = files
    return entries


def check_entries(
    entries: dict[str, dict],
    sample_rate: int,
    most_bad: float,
    resample: bool = False,
    longest_s: float = float("inf"),
) -> dict[str, dict]:
    """Decode every file and keep the entries that can be used.

    Arguments
    ---------
    entries : dict
        ID -> the files' paths.
    sample_rate : int
        The rate wanted, in Hz.
    most_bad : float
        Share of entries that may be left out, from 0 to 1.
    resample : bool
        Take other rates and several channels too: `read_speech` will
        resample and average.
    longest_s : float
        Longest file in seconds.

    Returns
    -------
    good : dict
        As entries, with `duration` in seconds.

    Raises
    ------
    ValueError
        More than that share cannot be used, or nothing can.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        checked = pool.map(
            lambda entry: look_into(entry, sample_rate, resample, longest_s),
            entries.values(),
        )
        results = dict(zip(entries, checked, strict=True))
    return keep_good(entries, results, most_bad)


def keep_good(
    entries: dict[str, dict], results: dict[str, float | str], most_bad: float
) -> dict[str, dict]:
    """Leave out, name and count the entries that cannot be used.

    Arguments
    ---------
    entries : dict
        ID -> entry.
    results : dict
        ID -> duration in seconds, or what is wrong.
    most_bad : float
        See `check_entries`.

    Returns
    -------
    good : dict
        As entries, with `duration`.

    Raises
    ------
    ValueError
        More than that share cannot be used, or nothing can.
    """
    bad = [f"{name}: {r}" for name, r in results.items() if isinstance(r, str)]
    if bad:
        summary = f"{len(bad)} of {len(entries)} entries cannot be used"
        if len(bad) > most_bad * len(entries) or len(bad) == len(entries):
            raise ValueError(
                f"{summary}, allowed is a share of {most_bad}: {some(bad)}. "
                "Repair or remove them, or allow more."
            )
        logger.warning("%s and are left out: %s", summary, some(bad))
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
    """Decode a file to its end.

    Arguments
    ---------
    path : str
        The file.
    sample_rate : int
        The rate wanted, in Hz.
    resample : bool
        Take other rates and several channels too.

    Returns
    -------
    duration : float
        In seconds.

    Raises
    ------
    ValueError
        It cannot be used: it is missing, damaged, cut off, too short, of
        another rate, not finite or silent.
    """
    if not os.path.isfile(path):
        raise ValueError(f"there is no file {path}")
    count, energy = 0, 0.0
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
            while len(block := file.read(BLOCK, "float32", always_2d=True)):
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


def write_manifest(entries: dict[str, dict], path: str | Path) -> None:
    """Write entries as SpeechBrain's CSV, whole or not at all.

    Arguments
    ---------
    entries : dict
        ID -> duration and the files' paths.
    path : str or Path
        The .csv file; its folder is made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    keys = [key for key in FILE_KEYS if any(key in e for e in entries.values())]
    with open(partial, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["ID", "duration", *keys])
        for name, entry in entries.items():
            files = [os.path.abspath(entry[key]) for key in keys]
            table.writerow([name, f"{entry['duration']:.6f}", *files])
    os.replace(partial, path)


def some(names: list[str]) -> str:
    """Name the first, count the others."""
    more = len(names) - SHOWN
    shown = "; ".join(names[:SHOWN])
    return f"{shown}; and {more} more" if more > 0 else shown
