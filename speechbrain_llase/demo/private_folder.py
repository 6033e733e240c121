"""The private folder: all that a page keeps, for as long as it is kept.

    private/            mode 700, locked while its page runs
        served/         uploads and results; the only place files are sent from
        work/           what lies between; never sent

Authors
 * The speechbrain_llase contributors 2026
"""

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "speechbrain_llase_page_"
LOCK = "lock"

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and nothing swept up
    fcntl = None


class PrivateFolder:
    """A folder for one page, gone when it ends.

    Arguments
    ---------
    parent : Path, optional
        Where to make it; the system's temporary folder if None.
    keep_s : float
        Seconds after which a file that no work holds is deleted.
    """

    def __init__(self, parent: Path | None = None, keep_s: float = 3600.0):
        parent = Path(parent or tempfile.gettempdir())
        remove_leftovers(parent)
        # locked before it has the name that `remove_leftovers` looks for
        made = Path(tempfile.mkdtemp(prefix=".", dir=parent))  # mode 700
        self._lock = lock(made)
        root = made.rename(parent / f"{PREFIX}{secrets.token_hex(8)}")
        self.root = root.resolve()  # as what is asked for is resolved
        self.keep_s = keep_s
        self.served, self.work = self.root / "served", self.root / "work"
        self.served.mkdir(mode=0o700)
        self.work.mkdir(mode=0o700)
        self._held = set()
        self._guard = threading.Lock()

    def use(self) -> None:
        """Make this process put its temporary files here, Gradio's too."""
        os.environ["GRADIO_TEMP_DIR"] = str(self.served)
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.work)

    @contextmanager
    def job(self) -> Iterator[tuple[Path, Path]]:
        """Folders for one press of the button.

        Yields
        ------
        work : Path
            For what lies between; gone at the end of the block.
        results : Path
            For what is served: held while the block runs, and deleted
            `keep_s` seconds after it, or at once if the block fails. Its
            name cannot be guessed.
        """
        token = secrets.token_hex(16)
        work, results = self.work / token, self.served / token
        with self._guard:
            self._held.add(results)
        try:
            work.mkdir(mode=0o700)
            results.mkdir(mode=0o700)
            yield work, results
            for path in results.rglob("*"):
                os.utime(path)  # its time begins now
        except BaseException:
            shutil.rmtree(results, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
            with self._guard:
                self._held.discard(results)

    def sweep(self, now: float | None = None) -> int:
        """Delete the files whose time is over.

        Arguments
        ---------
        now : float, optional
            Seconds since the epoch; the clock's if None.

        Returns
        -------
        count : int
            Files that were deleted.
        """
        now = time.time() if now is None else now
        with self._guard:
            held = set(self._held)
        count = 0
        for folder, _, files in os.walk(self.served, topdown=False):
            here = Path(folder)
            if not held.isdisjoint((here, *here.parents)):
                continue
            for name in files:
                count += self._expire(here / name, now)
            if here != self.served:
                remove_if_empty(here, now - self.keep_s)
        return count

    def _expire(self, path: Path, now: float) -> bool:
        """Delete a file if its time is over; tell whether it was."""
        try:
            if now - path.lstat().st_mtime <= self.keep_s:
                return False
            path.unlink()
        except FileNotFoundError:  # somebody else was quicker
            return False
        return True

    def remove(self) -> None:
        """Delete all of it, the folder included."""
        shutil.rmtree(self.root, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_if_empty(folder: Path, before: float) -> None:
    """Remove an empty folder that was not touched since `before`."""
    try:
        if folder.stat().st_mtime < before:
            folder.rmdir()
    except OSError:  # not empty, or gone
        pass


def lock(root: Path) -> int | None:
    """Lock a folder until this process ends; return what to close."""
    if fcntl is None:
        return None
    handle = os.open(root / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def remove_leftovers(parent: Path) -> list[Path]:
    """Remove folders of pages that were killed before they could clean up.

    Only folders of this user that nobody holds locked are touched; links
    are left alone.

    Arguments
    ---------
    parent : Path
        Where pages make their folders.

    Returns
    -------
    removed : list of Path
    """
    removed = []
    if fcntl is None:
        return removed
    for root in sorted(parent.glob(f"{PREFIX}*")):
        try:
            if root.is_symlink() or root.lstat().st_uid != os.geteuid():
                continue
            handle = lock(root)
        except OSError:  # locked by a page that runs, or just removed
            continue
        shutil.rmtree(root, ignore_errors=True)
        os.close(handle)
        removed.append(root)
    return removed
