"""Lists of recordings: folders, CSV and JSON in, one list out.

An entry is a dict with `clean_wav` (or `wav`), perhaps `noisy_wav`,
`reference_wav` (what is heard beside it) and `speaker`, and `duration` in
seconds.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from speechbrain.utils.logger import get_logger

from speechbrain_llase.dataio.audio_files import PLAIN_SUFFIXES
from speechbrain_llase.dataio.input_lists import TABLE_SUFFIXES, read_table
from speechbrain_llase.dataio.whole_files import whole_file

logger = get_logger(__name__)
FILE_KEYS = ("clean_wav", "noisy_wav", "reference_wav", "wav")
SPEAKER_KEYS = ("speaker", "speaker_id", "spk_id", "spkr", "client_id")
NAMES_SHOWN = 10  # files named in a message; the others are counted


def list_folder(folder: str | Path, key: str = "clean_wav") -> dict[str, dict]:
    """List the audio below a folder, hidden files left out.

    Gives the path below the folder, without its ending -> {key: path}. A
    FileNotFoundError, if there is no such folder, or no audio in it; a
    ValueError, if two files differ in their ending alone.
    """
    folder = Path(folder)
    files = sorted(audio_below(folder))
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


def audio_below(folder: Path) -> Iterator[Path]:
    """Find the audio below a folder, hidden files left out."""
    for path in folder.rglob("*"):
        if path.suffix.lower() in PLAIN_SUFFIXES and path.name[0] != ".":
            yield path


def pair_folders(clean: str | Path, noisy: str | Path) -> dict[str, dict]:
    """List recordings that have the same name in two folders.

    As `list_folder`, with clean_wav and noisy_wav; a name that only one folder
    has is left out, with a warning. A ValueError, if no name is in both.
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
            "Only in one of %s and %s, left out: %s",
            clean,
            noisy,
            first_few(alone),
        )
    return both


def read_manifest(path: str | Path, data_root: str = "") -> dict[str, dict]:
    """Read a list in one of SpeechBrain's forms: ID -> paths, and duration.

    A folder (see `list_folder`); a .csv file, or any other that `read_table`
    reads, with the columns ID and wav, clean_wav, noisy_wav; or a .json file
    {id: {...}}. `data_root` takes the place of `$data_root` and `{data_root}`.
    A column wav is called clean_wav, length duration (seconds), and one of
    `SPEAKER_KEYS` speaker. A
    ValueError, if the file is of no known form, or gives an ID twice.
    """
    path = Path(path)
    if path.is_dir():
        return list_folder(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}; name a folder of audio, a .csv or a .json."
        )
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise ValueError(
            f"{path} is neither a folder nor {' nor '.join(TABLE_SUFFIXES)}."
        )
    entries = {}
    for _, row in read_table(path):
        name = row.get("ID")
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
        speakers = [str(row[key]) for key in SPEAKER_KEYS if row.get(key)]
        if speakers:
            files["speaker"] = speakers[0]
        entries[name] = files
    return entries


def write_manifest(entries: dict[str, dict], path: str | Path) -> None:
    """Write entries (ID -> duration and paths) as SpeechBrain's CSV.

    The folder is made, and the file appears whole or not at all.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = [key for key in FILE_KEYS if any(key in e for e in entries.values())]
    with (
        whole_file(path) as partial,
        open(partial, "w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file)
        table.writerow(["ID", "duration", *keys])
        for name, entry in entries.items():
            files = [
                os.path.abspath(entry[key]) if key in entry else ""
                for key in keys
            ]
            table.writerow([name, f"{entry['duration']:.6f}", *files])


def first_few(names: list[str]) -> str:
    """Name the first, count the others."""
    more = len(names) - NAMES_SHOWN
    shown = "; ".join(names[:NAMES_SHOWN])
    return f"{shown}; and {more} more" if more > 0 else shown
