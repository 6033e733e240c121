"""A look into an input before it is read."""

from pathlib import Path
from typing import Any

import soundfile

from speechbrain_llase.dataio.audio_reader import to_source

# libsndfile's names of the encodings that hold more; lossy ones have no width
WIDE_SUBTYPES = {
    "PCM_24": "24-bit",
    "PCM_32": "32-bit",
    "FLOAT": "32-bit float",
    "DOUBLE": "64-bit float",
    "ALAC_20": "20-bit",
    "ALAC_24": "24-bit",
    "ALAC_32": "32-bit",
    "DWVW_24": "24-bit",
}


def check_source(path: Path, sample_rate: int) -> str:
    """Look into a file; say what of it a 16-bit mono output loses."""
    if not path.is_file():  # a pipe would block, a broken link confuse
        raise ValueError("not a regular file, or a broken link")
    if not path.stat().st_size:
        raise ValueError("the file is empty")
    with path.open("rb"):
        pass  # the system's reason is clearer than the audio library's
    try:
        info = soundfile.info(to_source(path))
    except soundfile.LibsndfileError as err:
        reason = str(err).rpartition(": ")[2]
        raise ValueError(f"not readable as audio: {reason}") from err
    return reduction(info, sample_rate)


def reduction(info: Any, sample_rate: int) -> str:
    """Say what of an input a mono 16-bit output at `sample_rate` loses.

    `info` is that of `soundfile.info`.
    """
    losses = []
    if info.channels > 1:
        losses.append(f"{info.channels} channels averaged to one")
    if info.samplerate > sample_rate:
        losses.append(f"{info.samplerate} Hz reduced to {sample_rate} Hz")
    if info.subtype in WIDE_SUBTYPES:
        losses.append(
            f"{WIDE_SUBTYPES[info.subtype]} samples reduced to 16-bit"
        )
    return ", ".join(losses)
