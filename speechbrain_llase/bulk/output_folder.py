"""The output folder of a run: every result appears whole, or not at all."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from speechbrain_llase.bulk.open_file import CannotGoOn
from speechbrain_llase.bulk.storage import (
    is_partial,
    list_files,
    new_file,
    remove,
)
from speechbrain_llase.bulk.units import Unit
from speechbrain_llase.dataio.urls import local_path, show

# Errors of a place, not of a file
FATAL = frozenset(
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EROFS EIO ESTALE ENODEV ENXIO ENOTCONN".split()
    if hasattr(errno, name)
)
FOLDERS = 100  # whose names are held at a time


class OutputFolder:
    """Where the results of a run appear, on this machine or elsewhere.

    `top` is a URL, or the path of a folder that exists. `owner` names the run
    among all that write there at the same time, from other machines too; the
    temporary files of its killed processes are known by it.
    """

    def __init__(self, top: str, owner: str):
        self.top = top
        self.owner = owner
        self.path = local_path(top)
        self.mark = hashlib.sha256(owner.encode()).hexdigest()[:8]
        self.disk = self.look()
        self.folders: dict[Path, set[str]] = {}

    def look(self) -> tuple[int, int] | None:
        """Tell which folder of which disk it is."""
        if self.path is None:
            return None
        status = self.path.stat()
        return status.st_dev, status.st_ino

    def check(self) -> None:
        """Refuse to go on where the folder is not what it was."""
        try:
            is_there = self.look() == self.disk
        except OSError:
            is_there = False
        if not is_there:
            raise CannotGoOn(
                f"the output folder {self.top} is not there any more, or "
                "another one is in its place (was its disk unmounted?). "
                "Bring it back and give the same command again."
            )

    def check_result(self, unit: Unit) -> None:
        """Refuse to go on if a result is not here that was written."""
        self.check()
        for part in unit.results if self.path else ():
            if not os.path.exists(part.target):
                raise CannotGoOn(
                    f"{part.target} was written by a worker and is not here: "
                    "--output must be a folder that all machines share, or a "
                    "URL"
                )

    def holds(self, name: str) -> bool:
        """Tell whether a result was there when the run began.

        Temporary files of the run's killed processes are removed. A folder is
        listed when it is asked for, what lies elsewhere all at once.
        """
        if self.path is None:
            return name in self.names
        path = self.path / name
        if path.parent not in self.folders:
            if len(self.folders) == FOLDERS:
                self.folders.clear()
            self.folders[path.parent] = self.tidy(path.parent)
        return path.name in self.folders[path.parent]

    def tidy(self, folder: Path) -> set[str]:
        """List a folder of this machine."""
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return set()
        for name in names:
            if is_partial(name, self.mark):
                (folder / name).unlink(missing_ok=True)
        return set(names)

    @cached_property
    def names(self) -> set[str]:
        """What lies behind a URL."""
        try:
            found = list_files(self.top, hidden=True)
        except FileNotFoundError:
            return set()  # nothing is there yet
        for place, key, _ in found:
            if is_partial(key.rpartition("/")[2], self.mark):
                remove(place)
        return {key for _, key, _ in found}

    @contextmanager
    def new_result(self, unit: Unit) -> Iterator[Path]:
        """Give a path to write to; at the end, the result appears.

        Without the look at the folder, a new one would be made where it was.
        CannotGoOn: the disk is full or lost, so that no other result could be
        written either; OSError: this one cannot be written.
        """
        self.check()
        try:
            with new_file(unit.target, self.mark) as path:
                yield path
        except OSError as err:
            self.check()
            if err.errno not in FATAL:
                raise
            raise CannotGoOn.writing(show(unit.target), err) from err
