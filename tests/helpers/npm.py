"""Packages of npm that tests need, fetched once and kept."""

import hashlib
import os
import tempfile
import urllib.request
from pathlib import Path

import pytest

KEPT = Path(__file__).parents[2] / "node_modules"  # ignored by git


def npm_package(name: str, version: str, sha512: str) -> Path:
    """The file of a package; the test is skipped where it cannot be had.

    One of another content than was pinned is an error.
    """
    path = KEPT / f"{name}-{version}.tgz"
    if path.is_file():
        package = path.read_bytes()
    else:
        package = fetch(
            f"https://registry.npmjs.org/{name}/-/{path.name}", path
        )
    assert hashlib.sha512(package).hexdigest() == sha512, f"another {path}"
    if not path.is_file():
        keep(package, path)
    return path


def fetch(address: str, path: Path) -> bytes:
    """The package from npm."""
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.read()
    except OSError as err:
        pytest.skip(f"{address} cannot be had ({err}); put it at {path}")


def keep(package: bytes, path: Path) -> None:
    """Write the package, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(package)
    os.replace(partial, path)
