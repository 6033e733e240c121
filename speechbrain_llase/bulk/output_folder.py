"""The output folder of a run: every file appears whole, or not at all.

Authors
 * The speechbrain_llase contributors 2026
"""

import errno
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from speechbrain_llase.bulk.open_file import CannotGoOn
from speechbrain_llase.dataio.audio_writer import write_blocks
from speechbrain_llase.dataio.whole_files import sync_folder

# Errors of a place, not of a file
FATAL = frozenset(
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EROFS EIO ESTALE ENODEV ENXIO ENOTCONN".split()
    if hasattr(errno, name)
)


class OutputFolder:
    """Where a run writes.

    Arguments
    ---------
    top : Path
        The folder, which exists.
    owner : str
        Names the run among all that write there at the same time, from other
        machines too; the temporary files of its killed processes are known
        by it.
    """

    def __init__(self, top: Path, owner: str):
        self.top = top
        self.mark = hashlib.sha256(owner.encode()).hexdigest()[:8]
        self.is_ours = re.compile(
            rf"\.llase-{self.mark}-\d+\.partial\.\w+"
        ).fullmatch
        self.place = self.look()
        self.made = 0
        self.touched: set[Path] = set()  # since the last `sync`
        self.folders: dict[Path, set[str]] = {}

    def look(self) -> tuple[int, int]:
        """Tell which folder of which disk it is."""
        status = self.top.stat()
        return status.st_dev, status.st_ino

    def check(self) -> None:
        """Refuse to go on where the folder is not what it was."""
        try:
            is_there = self.look() == self.place
        except OSError:
            is_there = False
        if not is_there:
            raise CannotGoOn(
                f"the output folder {self.top} is not there any more, or "
                "another one is in its place (was its disk unmounted?). "
                "Bring it back and give the same command again."
            )

    def holds(self, path: Path) -> bool:
        """Tell whether a file is there; temporary ones of old are removed.

        Each folder is listed once, when it is first asked for.
        """
        folder = path.parent
        if folder not in self.folders:
            self.folders[folder] = self.tidy(folder)
        return path.name in self.folders[folder]

    def tidy(self, folder: Path) -> set[str]:
        """List a folder, and remove what killed processes left there."""
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return set()
        for name in filter(self.is_ours, names):
            (folder / name).unlink(missing_ok=True)
        return set(names)

    def make(
        self, path: Path, blocks: Iterable[torch.Tensor], sample_rate: int
    ) -> Path:
        """Write a temporary file beside its place.

        Arguments
        ---------
        path : Path
            Its place below the folder.
        blocks : iterable of torch.Tensor
            (T,) each.
        sample_rate : int
            In Hz.

        Returns
        -------
        partial : Path
            Complete and on the disk, for `move`.

        Raises
        ------
        CannotGoOn
            The disk is full or lost; no other file could be written either.
        OSError
            This file cannot be written.
        """
        self.check()
        self.made += 1
        partial = f".llase-{self.mark}-{self.made}.partial{path.suffix}"
        partial = path.parent / partial
        with self.watched(partial):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_blocks(partial, blocks, sample_rate)
        return partial

    def move(self, partial: Path, path: Path) -> None:
        """Move what `make` gave to its place; errors as there."""
        with self.watched(partial):
            os.replace(partial, path)
        self.touched.add(path.parent)

    def sync(self) -> None:
        """See that what was moved stays where it is.

        A finished folder that somebody has moved away is their business.
        """
        with self.watched():
            for folder in self.touched:
                try:
                    sync_folder(folder)
                except (FileNotFoundError, NotADirectoryError):
                    self.check()
        self.touched.clear()

    @contextmanager
    def watched(self, partial: Path | None = None) -> Iterator[None]:
        """Sort errors of writing; a temporary file does not survive them."""
        try:
            yield
        except BaseException as err:
            if partial:
                with suppress(OSError):
                    partial.unlink(missing_ok=True)
            if not isinstance(err, OSError):
                raise
            self.check()
            if err.errno not in FATAL:
                raise
            raise CannotGoOn(
                f"{self.top} cannot be written any more ({err.strerror}). "
                "The finished files are complete: make room or mend the "
                "disk, and give the same command again."
            ) from err
