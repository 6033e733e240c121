"""A lock that a process holds while it lives."""

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path

from speechbrain_llase.dataio.whole_files import no_link

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# What flock and msvcrt say of a lock that somebody has
HELD = {errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
# and where there are no locks
MISSING = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
BINARY = getattr(os, "O_BINARY", 0)  # Windows: bytes stay as they are


class Lock:
    """A file that one process has locked, and that names this process.

    The system lets go of it when the process ends, however it ends. Where
    another process holds it, or the file system has no locks, ValueError says
    so.
    """

    def __init__(self, path: Path):
        self.path = path
        while True:
            self.file = no_link(path, os.O_RDWR | os.O_CREAT | BINARY)
            try:
                take(self.file)
            except OSError as err:
                reason = refusal(err, path)
                os.close(self.file)
                if not reason:
                    raise
                raise ValueError(reason) from err
            if is_same(self.file, path):
                break
            os.close(self.file)  # removed in between, by its last holder
        os.ftruncate(self.file, 0)
        os.write(self.file, f"{os.getpid()} on {socket.gethostname()}".encode())

    def release(self) -> None:
        """Let go, and remove the file."""
        with suppress(OSError):  # Windows keeps what is open
            self.path.unlink()
        os.close(self.file)


def refusal(err: OSError, path: Path) -> str | None:
    """Say what a lock that was not got means; None where nobody knows."""
    if err.errno in HELD:
        holder = path.read_text("utf-8", "replace") or "unknown"
        return (
            f"Another process ({holder}) is at work on this run: it holds "
            f"{path}. Wait for its end, or give this one another --shard or "
            "--manifest."
        )
    if err.errno in MISSING:
        return (
            f"The file system of {path.parent} has no locks ({err.strerror}), "
            "so that two processes could spoil one manifest. Put it on a "
            "local disk with --manifest FILE, or have the file system "
            "mounted with locks."
        )
    return None


def take(file: int) -> None:
    """Lock an open file, or raise OSError."""
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        # a byte that no name reaches, so that others can read the name
        os.lseek(file, 1 << 30, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)


def is_same(file: int, path: Path) -> bool:
    """Tell whether an open file is still the one of that name."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file), there)
