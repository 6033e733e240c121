"""What is refused before work begins: too large, too long, not audio.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
from dataclasses import dataclass
from pathlib import Path

import soundfile

from speechbrain_llase.dataio.audio_reader import check_convertible
from speechbrain_llase.processing.framing import SAMPLE_RATE

MAX_CHANNELS = 16
MB = 1 << 20  # bytes, as Gradio counts in its own words
READABLE = "WAV, FLAC, OGG or MP3"


@dataclass(frozen=True)
class Limits:
    """How much one press of the button may ask for."""

    max_s: float = 3600.0  # seconds a file
    max_bytes: int = 500 * MB  # a file
    max_files: int = 20  # at a time
    guard_s: float = 300.0  # seconds of a file that the guard judges
    scored_s: float = 30.0  # first seconds of a file that DNSMOS scores


def check_count(count: int, limits: Limits) -> None:
    """Refuse no files, and too many.

    Arguments
    ---------
    count : int
        Files that were given, a recording included.
    limits : Limits
        What is allowed.

    Raises
    ------
    ValueError
        With words for the page.
    """
    if not count:
        raise ValueError("Choose a file or record something first.")
    if count > limits.max_files:
        raise ValueError(
            f"These are {count} files; at most {limits.max_files} are taken "
            "at a time. For a folder use 'speechbrain-llase enhance'."
        )


def check_upload(path: str | Path, name: str, limits: Limits) -> float:
    """Refuse a file that is too large, too long or no audio.

    Only the header is read, so a file that lies about its length is caught
    later, when it is read to the end.

    Arguments
    ---------
    path : str or Path
        The file.
    name : str
        What its owner calls it.
    limits : Limits
        What is allowed.

    Returns
    -------
    seconds : float
        How long it is, by its header.

    Raises
    ------
    ValueError
        With words for the page, which hold no path.
    """
    if not os.path.isfile(path):
        raise ValueError(
            f"{name} is no longer here: uploads are deleted after a while. "
            "Upload it again."
        )
    size = os.path.getsize(path)
    if not size:
        raise ValueError(f"{name} is empty. Choose another file.")
    if size > limits.max_bytes:
        raise ValueError(
            f"{name} has {size / MB:.0f} MB; at most "
            f"{limits.max_bytes / MB:.0f} MB are taken. Save it as FLAC, or "
            "cut it."
        )
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError) as err:
        raise ValueError(
            f"{name} cannot be read as audio. Save it as {READABLE}."
        ) from err
    check_shape(name, info.samplerate, info.channels)
    seconds = info.frames / info.samplerate
    if not seconds > 0:
        raise ValueError(f"{name} holds no samples. Choose another file.")
    check_length(name, seconds, limits)
    return seconds


def check_shape(name: str, sample_rate: int, channels: int) -> None:
    """Refuse a rate or a number of channels that takes too much memory."""
    if channels > MAX_CHANNELS:
        raise ValueError(
            f"{name} has {channels} channels; at most {MAX_CHANNELS} are "
            "taken. Mix it down first."
        )
    check_convertible(name, sample_rate, SAMPLE_RATE)


def check_length(name: str, seconds: float, limits: Limits) -> None:
    """Refuse what lasts too long."""
    if seconds > limits.max_s:
        raise ValueError(
            f"{name} lasts {in_words(seconds)}; at most "
            f"{in_words(limits.max_s)} are taken. Cut it, or use "
            "'speechbrain-llase enhance', which takes any length."
        )


def check_guarded(name: str, seconds: float, limits: Limits) -> None:
    """Refuse to guard what lasts too long for it."""
    if seconds > limits.guard_s:
        raise ValueError(
            f"{name} lasts {in_words(seconds)}; the guard takes at most "
            f"{in_words(limits.guard_s)} here. Switch it off, or use "
            "'speechbrain-llase enhance --guard'."
        )


def in_words(seconds: float) -> str:
    """Write a duration.

    Example
    -------
    >>> in_words(8.67), in_words(90), in_words(1800)
    ('8.7 s', '1 min 30 s', '30 min')
    """
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min" + (f" {rest} s" if rest else "")
