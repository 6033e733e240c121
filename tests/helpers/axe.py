"""axe-core, which finds what a page keeps from some of its visitors."""

import hashlib
import io
import os
import tarfile
import tempfile
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "axe-core-4.14.1.tgz"
ADDRESS = f"https://registry.npmjs.org/axe-core/-/{NAME}"
SHA512 = (  # of the package, as npm states it
    "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b73"
    "4f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5"
)
KEPT = ROOT / "node_modules" / NAME  # ignored by git


def axe_script() -> str:
    """The text of axe.min.js; the test is skipped where there is none.

    The package is fetched from npm once and kept; one of another content than
    was pinned is an error.
    """
    package = KEPT.read_bytes() if KEPT.is_file() else fetch()
    assert hashlib.sha512(package).hexdigest() == SHA512, f"another {NAME}"
    if not KEPT.is_file():
        keep(package)
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


def fetch() -> bytes:
    """The package from npm."""
    try:
        with urllib.request.urlopen(ADDRESS, timeout=30) as answer:
            return answer.read()
    except OSError as err:
        pytest.skip(f"{ADDRESS} cannot be had ({err}); put it at {KEPT}")


def keep(package: bytes) -> None:
    """Write the package, whole or not at all."""
    KEPT.parent.mkdir(exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=KEPT.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(package)
    os.replace(partial, KEPT)
