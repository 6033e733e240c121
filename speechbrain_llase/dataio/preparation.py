"""From a user's recordings to the lists that a training reads."""

import hashlib
import os
import zlib
from collections import defaultdict
from pathlib import Path

from speechbrain.utils.logger import get_logger

from speechbrain_llase.dataio.audio_checks import check_entries
from speechbrain_llase.dataio.manifests import (
    FILE_KEYS,
    audio_below,
    pair_folders,
    read_manifest,
    write_manifest,
)

logger = get_logger(__name__)
SLOTS = 10_000  # of names, for holding some out
SPEECH = ("train", "valid")  # lists of utterances; the others may be long
SPLITS = [SPEECH, ("noise_train", "noise_valid")]  # that share no recording
HELD_BACK = ("valid", "validation", "dev", "val", "test")  # names of folders


def prepare_manifests(
    sources: dict[str, str | tuple[str, str] | None],
    hparams: dict,
    data_root: str = "",
) -> None:
    """Write a checked CSV for each list; see `check_entries`.

    Arguments
    ---------
    sources : dict
        `train` and `noise_train` and their like -> a folder, a .csv, a .json,
        or (clean folder, noisy folder) for pairs. None for `valid` or
        `noise_valid` holds some of the training's out; None for another
        writes no list.
    hparams : dict
        Of a recipe's YAML, with manifest_folder, where NAME.csv is written;
        sample_rate, resample, longest_s (of speech) and most_bad; valid_share,
        that is held out where nothing is given for it, see `hold_out`; and
        skip_prep: the lists are there already, else a FileNotFoundError.
    data_root : str
        Put in the place of `{data_root}` and `$data_root` in lists.

    Raises
    ------
    ValueError
        Too much cannot be used, or a recording is in two parts.
    """
    folder = Path(hparams["manifest_folder"])
    if hparams["skip_prep"]:
        refuse_missing_lists(folder, ("train.csv", "valid.csv"))
        return
    lists = {
        name: check_entries(
            pair_folders(*source)
            if isinstance(source, tuple)
            else read_manifest(source, data_root),
            hparams["sample_rate"],
            hparams["most_bad"],
            hparams["resample"],
            hparams["longest_s"] if name in SPEECH else float("inf"),
        )
        for name, source in sources.items()
        if source is not None
    }
    share = hparams["valid_share"]
    for train, valid in SPLITS:
        if valid in sources and valid not in lists and train in lists:
            by_speaker = train in SPEECH
            found = hold_out(lists[train], share, by_speaker)
            lists[train], lists[valid] = found
        if train in lists and lists[train] is not lists.get(valid):
            refuse_shared(lists[train], lists.get(valid, {}))
    for name in sources:
        path = folder / f"{name}.csv"
        if name not in lists:
            path.unlink(missing_ok=True)
            continue
        write_manifest(lists[name], path)
        hours = sum(e["duration"] for e in lists[name].values()) / 3600
        logger.info("%s: %d files, %.2f h", path, len(lists[name]), hours)


def refuse_missing_lists(folder: str | Path, names: tuple[str, ...]) -> None:
    """Raise FileNotFoundError if a list that was to be in a folder is not."""
    missing = [n for n in names if not (Path(folder) / n).is_file()]
    if missing:
        raise FileNotFoundError(
            f"skip_prep is set, but {folder} has no {' and no '.join(missing)};"
            " name the manifest_folder of an earlier run, or leave out "
            "skip_prep."
        )


def refuse_shared(train: dict[str, dict], valid: dict[str, dict]) -> None:
    """Raise a ValueError if a file of one part has the content of the other's.

    Files of the same size alone are read for that.
    """
    parts = [by_size(entries) for entries in (train, valid)]
    for size in parts[0].keys() & parts[1].keys():
        ours, theirs = ({digest(p): p for p in x[size]} for x in parts)
        for same in ours.keys() & theirs.keys():
            raise ValueError(
                f"{ours[same]} and {theirs[same]} are the same recording, one "
                "to train and one to validate; remove one of them."
            )


def by_size(entries: dict[str, dict]) -> dict[int, list[str]]:
    """Sort the files of entries, bytes -> paths; the clean one of a pair."""
    sizes = defaultdict(list)
    for entry in entries.values():
        path = next(entry[key] for key in FILE_KEYS if key in entry)
        sizes[os.path.getsize(path)].append(path)
    return sizes


def digest(path: str) -> bytes:
    """Hash what a file holds."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def hold_out(
    entries: dict[str, dict], share: float, by_speaker: bool = True
) -> tuple[dict[str, dict], dict[str, dict]]:
    """Put some entries aside, the same ones in every run.

    Whole speakers, if asked, where there are (see `find_speakers`) and no more
    than twice the share is held out with them; else single entries, by name.
    About that share, at least one, if there are two; where there is one entry,
    both parts hold it.
    """
    if len(entries) < 2:
        return entries, entries
    alone = {name: [name] for name in entries}
    speakers = find_speakers(entries) if by_speaker else alone
    count = min(max(1, round(share * len(entries))), len(entries) - 1)
    held = draw_groups(speakers, count, most=min(2 * count, len(entries) - 1))
    if not held:
        logger.warning(
            "Each of %d speakers or folders is more than a share of %g: single "
            "entries are held out, and those who speak in them are trained on.",
            len(speakers),
            share,
        )
        held = draw_groups(alone, count, most=count)
    return (
        {name: e for name, e in entries.items() if name not in held},
        {name: e for name, e in entries.items() if name in held},
    )


def find_speakers(entries: dict[str, dict]) -> dict[str, list[str]]:
    """Sort entries by who speaks, speaker -> names.

    That is their `speaker`, else the first folder of the name that not all
    have; an entry in no such folder is a speaker of its own.

    Example
    -------
    >>> find_speakers({"d/84/1/a": {}, "d/84/2/b": {}, "d/85/c": {}})
    {'84': ['d/84/1/a', 'd/84/2/b'], '85': ['d/85/c']}
    """
    folders = [name.split("/")[:-1] for name in entries]
    shared = len(os.path.commonprefix(folders))
    speakers = defaultdict(list)
    for name, entry in entries.items():
        own = name.split("/")[shared]
        speakers[entry.get("speaker") or own].append(name)
    return dict(speakers)


def draw_groups(
    groups: dict[str, list[str]], count: int, most: int
) -> set[str]:
    """Take groups of names by chance, but always the same, up to a count.

    A group that would make them more than `most` is passed over.
    """
    taken = set()
    for key in sorted(groups, key=lambda x: zlib.crc32(x.encode()) % SLOTS):
        if len(taken) < count and len(taken) + len(groups[key]) <= most:
            taken.update(groups[key])
    return taken


def load_manifest(folder: str | Path, name: str) -> dict[str, dict]:
    """Read a list that `prepare_manifests` wrote; {} where it wrote none."""
    path = Path(folder) / f"{name}.csv"
    return read_manifest(path) if path.is_file() else {}


def find_parts(data_folder: str | Path, kind: str) -> tuple[str | None, ...]:
    """Find what a folder has for training and validation.

    `kind` (clean, noise or noisy) is a folder in it, which may have folders
    `train` and `valid`. Gives the paths of both parts, None where there is
    none. A ValueError, if there is something to hold back and no `train`.
    """
    folder = Path(data_folder) / kind
    if (folder / "train").is_dir():
        valid = folder / "valid"
        return str(folder / "train"), str(valid) if valid.is_dir() else None
    held = [name for name in HELD_BACK if (folder / name).is_dir()]
    if held:
        raise ValueError(
            f"{folder} has a folder {held[0]}, and no folder train: it would "
            f"be trained on. Move what is to train into {folder / 'train'}."
        )
    return (str(folder), None) if folder.is_dir() else (None, None)


def folder_sources(data_folder: str | Path) -> dict:
    """Say what `prepare_manifests` is to read for a user's own folder.

    It holds `clean` and either `noisy` (files of the same names) or `noise`,
    each perhaps in `train` and `valid`, and perhaps `rir`. A
    FileNotFoundError, if one of them is missing; a ValueError, if one of a
    pair has a part that the other has not.
    """
    clean = find_parts(data_folder, "clean")
    noisy = find_parts(data_folder, "noisy")
    noise = find_parts(data_folder, "noise")
    rir = Path(data_folder) / "rir"
    if clean[0] is None or (noisy[0] is None and noise[0] is None):
        raise FileNotFoundError(
            f"{data_folder} needs a folder clean (speech) and a folder noise "
            "(any noise), or clean and noisy (the same names in both)."
        )
    if noisy[0] is None:
        train, valid = clean
    else:
        train, valid = zip(clean, noisy, strict=True)
        if (valid[0] is None) != (valid[1] is None):
            raise ValueError(
                f"Only one of {data_folder}/clean and {data_folder}/noisy has "
                "a folder valid; both need one, or none."
            )
        valid = None if None in valid else valid
    return {
        "train": train,
        "valid": valid,
        "noise_train": noise[0] if noisy[0] is None else None,
        "noise_valid": noise[1] if noisy[0] is None else None,
        "rir": str(rir) if any(audio_below(rir)) else None,
    }
