"""Files that appear whole or not at all, and through nobody's links.

In a folder that others may write to, somebody could plant a link under a name
that is going to be written, and so have another file overwritten.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a hidden name beside a file; what is written there takes its place.

    The name has the file's ending. After an error it is removed.
    """
    path = Path(path)
    name = f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}"
    partial = new_empty(path.with_name(name))
    try:
        yield partial
        move_whole(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def new_empty(path: Path) -> Path:
    """Make an empty file; FileExistsError if the name is taken, by a link too.

    Unlike those of `tempfile`, others may read it where the system's mask for
    new files lets them: it is moved to where they look for it.
    """
    with open(path, "xb"):  # O_EXCL
        return path


def no_link(path: str | Path, flags: int) -> int:
    """Open a file under a name that may be known; an `opener` of `open`.

    OSError: there is a link of this name, and a write would go to its target.
    """
    if os.path.islink(path):
        raise OSError(
            errno.ELOOP, "it is a link, and no link is written through", path
        )
    follow = getattr(os, "O_NOFOLLOW", 0)  # one planted since; not on Windows
    return os.open(path, flags | follow, 0o666)


def move_whole(partial: Path, path: Path) -> None:
    """Move a complete file to its place, and see that it stays there."""
    os.replace(partial, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where systems can do that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
