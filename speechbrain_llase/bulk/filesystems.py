"""File systems behind URLs: fsspec's, with errors told in one line."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from speechbrain_llase.dataio.urls import is_url, protocol_of, show


def connect(place: str) -> tuple[Any, str]:
    """File system of a place, and its path there.

    A protocol that is unknown, needs a package or is a chain is a ValueError,
    a server that cannot be reached an OSError.
    """
    from fsspec.core import url_to_fs
    from fsspec.registry import get_filesystem_class

    if "::" in place and is_url(place):
        raise ValueError(f"{show(place)}: chains with '::' are not supported.")
    protocol = protocol_of(place)
    try:
        get_filesystem_class(protocol)
    except ImportError as err:
        raise ValueError(
            f"{show(place)}: {protocol}:// needs a package that is missing "
            f"here ({err})"
        ) from err
    except ValueError as err:
        raise ValueError(
            f"{show(place)}: the protocol {protocol}:// is not known to "
            "fsspec; use a path, s3://, gs://, hdfs://, https:// or the like."
        ) from err
    with clear_errors(place):
        return url_to_fs(place)


@contextmanager
def clear_errors(place: str) -> Iterator[None]:
    """Turn what a file system raises into one line about the place.

    Each back end raises its library's own exceptions, many of them no
    OSError; only calls into fsspec stand in such a block, so all of them are
    about storage.
    """
    if protocol_of(place) in ("file", "local"):
        yield
        return
    where = show(place)
    try:
        yield
    except FileNotFoundError as err:
        raise FileNotFoundError(
            f"{where}: there is no such file, folder or bucket."
        ) from err
    except Exception as err:
        reason = show(" ".join(str(err).split())) or type(err).__name__
        if isinstance(err, PermissionError) or is_refusal(err):
            raise PermissionError(
                f"{where}: no access ({reason}). Check the credentials that "
                f"{protocol_of(place)}:// finds in the environment."
            ) from err
        raise OSError(f"{where}: {reason}") from err


def is_refusal(err: Exception) -> bool:
    """Tell whether a library's own exception is about credentials."""
    status = getattr(err, "status", None) or getattr(err, "code", None)
    return status in (401, 403, "401", "403") or (
        "Credential" in type(err).__name__
    )


class RemoteStream(io.RawIOBase):
    """A file of fsspec whose errors are told in one line."""

    def __init__(self, file: Any, place: str):
        self.file = file
        self.place = place

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """Whether the server sends parts of the file."""
        return self.file.seekable()

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        with clear_errors(self.place):
            data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        with clear_errors(self.place):
            return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Byte that is read next."""
        return self.file.tell()
