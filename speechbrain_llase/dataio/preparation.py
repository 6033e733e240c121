"""From a user's recordings to the lists that a training reads."""

import zlib
from pathlib import Path

from speechbrain.utils.logger import get_logger

from speechbrain_llase.dataio.audio_checks import check_entries
from speechbrain_llase.dataio.manifests import (
    audio_below,
    pair_folders,
    read_manifest,
    write_manifest,
)

logger = get_logger(__name__)
SLOTS = 10_000  # of names, for holding some out
SPEECH = ("train", "valid")  # lists of utterances; the others may be long


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
        that is held out by name where nothing is given for it; and skip_prep:
        the lists are there already, else a FileNotFoundError.
    data_root : str
        Put in the place of `{data_root}` and `$data_root` in lists.
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
    for valid, train in (("valid", "train"), ("noise_valid", "noise_train")):
        if valid in sources and valid not in lists and train in lists:
            lists[train], lists[valid] = hold_out(lists[train], share)
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


def hold_out(
    entries: dict[str, dict], share: float
) -> tuple[dict[str, dict], dict[str, dict]]:
    """Put some entries aside, the same ones in every run.

    About that share, at least one, if there are two; where there is one entry,
    both parts hold it.
    """
    ranked = sorted(entries, key=lambda n: zlib.crc32(n.encode()) % SLOTS)
    if len(ranked) < 2:
        return entries, entries
    count = min(max(1, round(share * len(ranked))), len(ranked) - 1)
    held = set(ranked[:count])
    return (
        {name: e for name, e in entries.items() if name not in held},
        {name: e for name, e in entries.items() if name in held},
    )


def load_manifest(folder: str | Path, name: str) -> dict[str, dict]:
    """Read a list that `prepare_manifests` wrote; {} where it wrote none."""
    path = Path(folder) / f"{name}.csv"
    return read_manifest(path) if path.is_file() else {}


def find_parts(data_folder: str | Path, kind: str) -> tuple[str | None, ...]:
    """Find what a folder has for training and validation.

    `kind` (clean, noise or noisy) is a folder in it, which may have folders
    `train` and `valid`. Gives the paths of both parts, None where there is
    none.
    """
    folder = Path(data_folder) / kind
    if (folder / "train").is_dir():
        valid = folder / "valid"
        return str(folder / "train"), str(valid) if valid.is_dir() else None
    return (str(folder), None) if folder.is_dir() else (None, None)


def folder_sources(data_folder: str | Path) -> dict:
    """Say what `prepare_manifests` is to read for a user's own folder.

    It holds `clean` and either `noisy` (files of the same names) or `noise`,
    each perhaps in `train` and `valid`, and perhaps `rir`. A
    FileNotFoundError, if one of them is missing.
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
        train, valid = (
            None if None in pair else pair
            for pair in zip(clean, noisy, strict=True)
        )
    return {
        "train": train,
        "valid": valid,
        "noise_train": noise[0] if noisy[0] is None else None,
        "noise_valid": noise[1] if noisy[0] is None else None,
        "rir": str(rir) if any(audio_below(rir)) else None,
    }
