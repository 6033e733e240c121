"""Files anywhere: on this machine or behind a URL that fsspec knows.

What is read from elsewhere comes as a stream. What is written is made on
this machine first and appears at its place complete or not at all: a local
file by fsync and rename, an object by one upload, a file of another system
under a temporary name that is moved.
"""

import io
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from speechbrain_llase.bulk.filesystems import (
    RemoteStream,
    clear_errors,
    connect,
)
from speechbrain_llase.dataio.urls import (
    check_key,
    join,
    local_path,
    name_of,
    protocol_of,
    split_glob,
)
from speechbrain_llase.dataio.whole_files import move_whole, new_empty

# Protocols whose objects appear only when their upload is complete.
OBJECT_STORES = frozenset(
    "s3 s3a gs gcs abfs abfss az adl oss oci tos tosfs hf".split()
)
COPIED = 1 << 20  # bytes at a time


def list_files(place: str, hidden: bool = False) -> list[tuple[str, str, int]]:
    """List what a place stands for: place, key and bytes, sorted by key.

    A place is a file; a folder, which is searched to the bottom, `hidden`
    names left out; or a pattern with `*`, `?`, `[ab]`, `**`. Keys of a folder
    start below it, those of a pattern below its last folder without a pattern;
    that of a file is its name. Bytes are 0 where the server does not say.
    OSError: there is nothing, or no access.
    """
    fs, path = connect(place)
    with clear_errors(place):
        fs.invalidate_cache()
        top, is_glob = split_glob(place)
        if is_glob:
            infos = fs.glob(path, detail=True)
        elif (info := fs.info(path))["type"] != "directory":
            return [(place, name_of(place), info.get("size") or 0)]
        else:
            infos = fs.find(path, detail=True)
    root = connect(top)[1].rstrip("/")
    found = []
    for name, info in sorted(infos.items()):
        key = name.removeprefix(root).lstrip("/")
        if info["type"] == "directory" or not key:
            continue
        check_key(key)
        if hidden or not any(part[0] == "." for part in key.split("/")):
            found.append((join(top, key), key, info.get("size") or 0))
    return found


def exists(place: str) -> bool:
    """Tell whether a file is there."""
    fs, path = connect(place)
    try:
        with clear_errors(place):
            fs.invalidate_cache()
            return fs.info(path)["type"] != "directory"
    except FileNotFoundError:
        return False


@contextmanager
def open_stream(place: str) -> Iterator[BinaryIO]:
    """Open a file for reading; it can be sought in, if the server lets it."""
    path = local_path(place)
    if path:
        with open(path, "rb") as file:
            yield file
        return
    fs, name = connect(place)
    with clear_errors(place):
        raw = fs.open(name, "rb")
    with raw, io.BufferedReader(RemoteStream(raw, place), COPIED) as file:
        yield file


@contextmanager
def local_copy(place: str) -> Iterator[Path]:
    """Give a file's path on this machine: its own, or that of a copy.

    libsndfile jumps about in compressed files, each time a request to a
    server; so audio is copied to a temporary file, piece by piece, first.
    """
    path = local_path(place)
    if path:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="llase-") as folder:
        copy = Path(folder) / f"input{Path(name_of(place)).suffix}"
        with open_stream(place) as source, open(copy, "wb") as target:
            shutil.copyfileobj(source, target, COPIED)
        yield copy


@contextmanager
def new_file(place: str, mark: str = "") -> Iterator[Path]:
    """Give a path to write to; at the end, the file appears at its place.

    Its folder is made if missing, a file that is there is replaced. The path
    is an empty file, its ending is that of `place`; if the block raises, it is
    removed, and nothing appears. `mark` names the run in the names of
    temporary files, so that those of its killed processes are known.
    """
    target = local_path(place)
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        name = partial_name(target.name, mark)
        partial = new_empty(target.with_name(name))
        try:
            yield partial
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
            move_whole(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(prefix="llase-") as folder:
        partial = Path(folder) / f"output{Path(name_of(place)).suffix}"
        yield partial
        upload(partial, place, mark)


def write_bytes(place: str, data: bytes) -> None:
    """Write a small file at once."""
    with new_file(place) as path:
        path.write_bytes(data)


def upload(path: Path, place: str, mark: str = "") -> None:
    """Copy a complete local file to another system, all or nothing."""
    fs, target = connect(place)
    with clear_errors(place):
        if protocol_of(place) in OBJECT_STORES:
            fs.put_file(str(path), target)
            fs.invalidate_cache()
            return
        folder, _, name = target.rpartition("/")
        partial = f"{folder}/{partial_name(name, mark)}"
        fs.makedirs(folder, exist_ok=True)
        try:
            fs.put_file(str(path), partial)
            fs.invalidate_cache()
            if fs.exists(target):  # HDFS moves over nothing
                fs.rm_file(target)
            fs.mv(partial, target)
            fs.invalidate_cache()
            if fs.info(target)["size"] != path.stat().st_size:
                raise OSError("what arrived has another size.")
        finally:
            with suppress(Exception):  # what went wrong first is told
                if fs.exists(partial):
                    fs.rm_file(partial)


def remove(place: str) -> None:
    """Remove a file."""
    fs, path = connect(place)
    with clear_errors(place):
        fs.rm_file(path)
        fs.invalidate_cache()


def partial_name(name: str, mark: str) -> str:
    """A hidden name beside a file, of the form that `OutputFolder` tidies."""
    number = uuid.uuid4().int % 10**12
    return f".llase-{mark}-{number}.partial{Path(name).suffix or '.tmp'}"


def is_partial(name: str, mark: str) -> bool:
    """Tell whether `partial_name` gave a name to the run of this mark."""
    return bool(re.fullmatch(rf"\.llase-{mark}-\d+\.partial\.\w+", name))
