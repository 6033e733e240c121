"""What is there: listings of files anywhere.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechbrain_llase.bulk.filesystems import clear_errors, connect
from speechbrain_llase.bulk.refusals import look_at
from speechbrain_llase.dataio.urls import (
    check_key,
    join,
    local_path,
    name_of,
    split_glob,
)


@dataclass(frozen=True)
class Found:
    """One file of a listing."""

    place: str  # URL or path
    key: str  # relative to the input that it belongs to
    size: int  # bytes; -1 where the server does not say


def list_files(place: str, hidden: bool = False) -> list[Found]:
    """List what a place stands for.

    Arguments
    ---------
    place : str
        URL or path of a file; of a folder, which is searched to the bottom,
        hidden names left out; or a pattern with `*`, `?`, `[ab]`, `**`.
    hidden : bool
        List hidden names, too.

    Returns
    -------
    list of Found
        Sorted by key. Keys of a folder start below it, those of a pattern
        below its last folder without a pattern; that of a file is its name.

    Raises
    ------
    OSError
        There is nothing, or no access.
    ValueError
        The protocol is unknown or needs a package.
    """
    fs, path = connect(place)
    with clear_errors(place):
        fs.invalidate_cache()
        top, is_glob = split_glob(place)
        if is_glob and not (local_path(place) and fs.exists(path)):
            infos = fs.glob(path, detail=True)
        elif (info := fs.info(path))["type"] != "directory":
            return [Found(place, name_of(place), size_of(info))]
        else:
            top, infos = place, find_below(fs, place, path)
    root = connect(top)[1].rstrip("/")
    found = []
    for name, info in sorted(infos.items()):
        key = name.removeprefix(root).lstrip("/")
        if info["type"] == "directory" or not key:
            continue
        check_key(key)
        if hidden or not any(part[0] == "." for part in key.split("/")):
            found.append(Found(join(top, key), key, size_of(info)))
    return found


def find_below(fs: Any, place: str, path: str) -> dict[str, dict]:
    """Find all files below a folder; links to local folders are left out.

    Broken links and pipes are not: they fail alone, and are told.
    """
    if not local_path(place):
        return fs.find(path, detail=True)
    return {
        name: {"type": "file", "size": look_at(Path(name))[1]}
        for root, _, names in os.walk(path, onerror=unlisted)
        for name in (f"{root.rstrip('/')}/{n}" for n in names)
    }


def unlisted(err: OSError) -> None:
    """Refuse a folder that cannot be listed."""
    raise err


def find_size(place: str) -> int | None:
    """Bytes of a file, -1 if the server does not say, None if it is absent."""
    fs, path = connect(place)
    try:
        with clear_errors(place):
            fs.invalidate_cache()
            info = fs.info(path)
    except FileNotFoundError:
        return None
    return size_of(info) if info["type"] != "directory" else None


def size_of(info: dict) -> int:
    """Bytes that a listing states."""
    size = info.get("size")
    return -1 if size is None else int(size)
