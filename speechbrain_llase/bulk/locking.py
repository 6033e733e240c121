"""A lock that a process holds while it lives, and a note of what it does.

Authors
 * The speechbrain_llase contributors 2026
"""

import errno
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

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
    """A file that one process has locked.

    The system lets go of it when the process ends, however it ends. What the
    process noted last stays in the file for the next one, and stays there
    until `forget`, even if that one is killed, too.

    Arguments
    ---------
    path : Path
        The lock's file; made if missing.

    Raises
    ------
    ValueError
        Another process holds it, or the file system has no locks.
    """

    def __init__(self, path: Path):
        self.path = path
        while True:
            self.file = os.open(path, os.O_RDWR | os.O_CREAT | BINARY, 0o644)
            try:
                take(self.file)
            except OSError as err:
                reason = refusal(err, path, read_note(self.file))
                os.close(self.file)
                if not reason:
                    raise
                raise ValueError(reason) from err
            if is_same(self.file, path):
                break
            os.close(self.file)  # removed in between, by its last holder
        found = read_note(self.file)
        self.found = found if found.get("record") else {}
        self.process = f"{os.getpid()} on {socket.gethostname()}"
        self.note()

    def note(self, **about: Any) -> None:
        """Replace the note; enough for a killed process, not a lost machine.

        The new one is written over the old one: there is no moment without.
        """
        note = {**self.found, **about, "process": self.process}
        text = json.dumps(note).encode() + b"\n"
        os.lseek(self.file, 0, os.SEEK_SET)
        os.write(self.file, text)
        os.ftruncate(self.file, len(text))

    def forget(self) -> None:
        """Drop what was found: it is done with."""
        if self.found:
            self.found = {}
            self.note()

    def clear(self) -> None:
        """Remove the note."""
        os.ftruncate(self.file, 0)

    def release(self, keep_note: bool = False) -> None:
        """Let go, and remove the file unless its note is still needed."""
        if not keep_note:
            with suppress(OSError):  # Windows keeps what is open
                self.path.unlink()
        os.close(self.file)


def refusal(err: OSError, path: Path, note: dict[str, Any]) -> str | None:
    """Say what a lock that was not got means; None where nobody knows."""
    if err.errno in HELD:
        return (
            f"Another process ({note.get('process', 'unknown')}) is at work "
            f"on this run: it holds {path}. Wait for its end, or give this "
            "one another --shard or --manifest."
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

        # a byte that no note reaches, so that others can read the note
        os.lseek(file, 1 << 30, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)


def read_note(file: int) -> dict[str, Any]:
    """Read what was noted, in the first line; nothing if it is torn."""
    os.lseek(file, 0, os.SEEK_SET)
    try:
        line, _, _ = os.read(file, 1 << 20).partition(b"\n")
        found = json.loads(line)
    except (ValueError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def is_same(file: int, path: Path) -> bool:
    """Tell whether an open file is still the one of that name."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file), there)
