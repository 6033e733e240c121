"""Open a sound: by libsndfile, or by FFmpeg (PyAV) where that cannot.

Both give blocks of float32 (T, C) until one is short, whatever the header
said: what it counts is compared with what there is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import soundfile

from speechbrain_llase.dataio import media_file
from speechbrain_llase.dataio.file_views import size_of
from speechbrain_llase.dataio.plain_file import PlainFile, one_reason

NO_AUDIO = {  # how files begin that bear the name of audio by mistake
    b"<!doctype html": "a web page (a download that failed?)",
    b"<html": "a web page (a download that failed?)",
    b"version https://git-lfs": "a pointer of Git LFS: git lfs pull gets it",
    b"%pdf": "a PDF",
}


# `name` is a path, or, where there is none, the open file itself.


class Sound(Protocol):
    """Sound that is open for reading."""

    rate: int  # Hz
    channels: int
    subtype: str  # how samples are held, in libsndfile's words
    stated: float | None  # seconds that the header counts, if it does
    slack_s: float  # seconds that this may differ by
    remarks: list[str]  # what was wrong, one line each

    def read(self, frames: int) -> np.ndarray:
        """Read on: float32 (T, C), fewer than `frames` at the end."""

    def close(self) -> None:
        """Let go of the file."""


@contextmanager
def open_sound(
    source: str | Path | BinaryIO, track: int = 1
) -> Iterator[Sound]:
    """Open a file, or what is open and can be sought in.

    `track` counts the sound tracks of a film from 1. A ValueError names the
    file, what is wrong with it, and the way out.
    """
    is_open = hasattr(source, "read")
    try:
        file = source if is_open else open(source, "rb")
    except OSError as err:
        raise ValueError(f"{source} cannot be read: {err.strerror}.") from err
    try:
        sound = open_by_any(file, source, track)
        try:
            yield sound
        finally:
            sound.close()
    finally:
        if not is_open:
            file.close()


def open_by_any(
    file: BinaryIO, name: str | Path | BinaryIO, track: int
) -> Sound:
    """Open by whatever can read it."""
    if not size_of(file):
        raise ValueError(f"{name} cannot be read as audio: the file is empty.")
    file.seek(0)
    begin = file.read(64).lower()
    for mark, what in NO_AUDIO.items():
        if begin.startswith(mark):
            raise ValueError(f"{name} cannot be read as audio: it is {what}.")
    if track > 1 and not media_file.has_av():
        raise ValueError(
            f"{name}: track {track} needs {media_file.FORMATS_EXTRA}"
        )
    if track == 1:
        try:
            sound = PlainFile(file, name)
        except soundfile.LibsndfileError as err:
            reason = one_reason(err)
        else:
            links = sound.links
            if links < 2:
                return sound
            if not media_file.has_av():
                sound.remarks.append(
                    f"the first of {links} streams is read; {media_file.FORMATS_EXTRA} "
                    "reads them all"
                )
                return sound
            sound.close()
    if media_file.has_av():
        return media_file.MediaFile(file, name, track)
    raise ValueError(
        f"{name} cannot be read as audio: {reason}. If it is sound or a film "
        f"in another format, {media_file.FORMATS_EXTRA} lets it be read."
    )
