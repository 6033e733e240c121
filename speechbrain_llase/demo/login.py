"""Who may log in: a file of names and passwords.

Authors
 * The speechbrain_llase contributors 2026
"""

import asyncio
import hmac
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

PAUSE_S = 1.0  # after a wrong password


def read_users(path: Path) -> dict[str, str]:
    """Read lines of the form name:password.

    Arguments
    ---------
    path : Path
        UTF-8; blank lines and lines that begin with # are skipped. Only its
        owner may read it.

    Returns
    -------
    users : dict
        Name -> password, at least one.

    Raises
    ------
    ValueError
        If a line is of another form, there is none, the file cannot be read,
        or others may read it.
    """
    try:
        mode = path.stat().st_mode
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise ValueError(f"--users {path} cannot be read: {err}") from err
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        raise ValueError(
            f"--users {path} can be read by others; run chmod 600 {path}."
        )
    users = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, password = line.partition(":")
        name = name.strip()
        if not (name and colon and password):
            raise ValueError(
                f"--users {path}, line {number}: write name:password."
            )
        users[name] = password
    if not users:
        raise ValueError(f"--users {path} names nobody: write name:password.")
    return users


def checker(users: dict[str, str]) -> Callable[[str, str], Awaitable[bool]]:
    """A function that tells whether name and password fit.

    Arguments
    ---------
    users : dict
        What `read_users` gave.

    Returns
    -------
    check : coroutine function
        Wrong ones are answered after a second, so that guessing is slow.
    """

    async def check(name: str, password: str) -> bool:
        known = users.get(name, "")
        fits = hmac.compare_digest(known.encode(), password.encode())
        if name in users and fits:
            return True
        await asyncio.sleep(PAUSE_S)
        return False

    return check
