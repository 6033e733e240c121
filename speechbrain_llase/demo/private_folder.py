"""The private folder: all that a page keeps, for as long as it runs."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "speechbrain_llase_page_"

try:
    import fcntl
except ImportError:  # Windows: nothing is locked, and no leftover removed
    fcntl = None


@contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder that its owner alone may read; remove it at the end.

    It is made in `parent` or the system's temporary folder, where folders
    that killed pages left are removed first. It is resolved, and locked, so
    that no other page takes it for a leftover.
    """
    parent = Path(parent or tempfile.gettempdir())
    remove_leftovers(parent)
    # locked before it has the name that `remove_leftovers` looks for
    made = Path(tempfile.mkdtemp(prefix=".", dir=parent))  # mode 700
    handle = lock_folder(made)
    folder = made.rename(parent / f"{PREFIX}{secrets.token_hex(8)}").resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def lock_folder(folder: Path) -> int | None:
    """Lock a folder until its handle is closed; None if it cannot be had."""
    if fcntl is None:
        return None
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # of another user, or locked by a page that runs
        if handle is not None:
            os.close(handle)
        return None
    return handle


def remove_leftovers(parent: Path) -> None:
    """Remove folders of pages that were killed before they could clean up."""
    for folder in parent.glob(f"{PREFIX}*"):
        handle = lock_folder(folder)
        if handle is not None:
            shutil.rmtree(folder, ignore_errors=True)  # no link: it refuses
            os.close(handle)
