"""How results are written: their format, the width of samples, and tags."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

TAG_NAMES = (
    "title",
    "artist",
    "album",
    "date",
    "genre",
    "tracknumber",
    "comment",
)
TAG_NAMES += ("copyright", "license")
FORMATS = ("wav", "flac", "mp3", "ogg", "m4a", "mp4", "mkv")
SUBTYPES = {  # libsndfile's names of what a format can hold
    "wav": {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"},
    "flac": {"16": "PCM_16", "24": "PCM_24"},
}
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
AAC_RATES = (*MP3_RATES, 64000, 88200, 96000)
RATES_OF = {  # Hz; of formats that know few
    "mp3": MP3_RATES,
    "m4a": AAC_RATES,
    "mp4": AAC_RATES,
    "mkv": AAC_RATES,
}


@dataclass(frozen=True)
class Format:
    """What results are written as.

    Arguments
    ---------
    name : str, optional
        One of FORMATS, or "same": what the input is, WAV where that cannot be
        written. None leaves it to the caller.
    subtype : str, optional
        "16", "24" (bits) or "float", for WAV and FLAC; None: 16.

    Raises
    ------
    ValueError
        There is no such format, or it holds no such samples.

    Example
    -------
    >>> Format("same").ending("a.FLAC"), Format("same").ending("a.wma")
    ('flac', 'wav')
    >>> Format("ogg").ending("a.flac"), Format().ending("a.flac")
    ('ogg', 'wav')
    """

    name: str | None = None
    subtype: str | None = None

    def __post_init__(self):
        if self.name not in (None, "same", *FORMATS):
            raise ValueError(
                f"format={self.name!r} must be one of {', '.join(FORMATS)} or "
                "same."
            )
        known = SUBTYPES.get(self.name or "wav", {})
        known = SUBTYPES["wav"] if self.name == "same" else known
        if self.subtype is not None and self.subtype not in known:
            raise ValueError(
                f"subtype={self.subtype!r} does not go with the format "
                f"{self.name or 'wav'}: wav holds 16, 24 and float, flac 16 "
                "and 24, others have no such choice."
            )

    def ending(self, name: str, default: str = "wav") -> str:
        """Choose the ending of an input's result, without its dot."""
        if self.name != "same":
            return self.name or default
        own = PurePosixPath(name).suffix.lower()[1:]
        return own if own in FORMATS else "wav"


def subtype_of(ending: str, subtype: str | None) -> str | None:
    """Name the samples of a format; those nearest to what was asked for.

    Example
    -------
    >>> subtype_of("wav", "float"), subtype_of("flac", "float")
    ('FLOAT', 'PCM_24')
    >>> subtype_of("wav", None), subtype_of("mp3", "24")
    ('PCM_16', None)
    """
    known = SUBTYPES.get(ending, {})
    return known.get(subtype or "16", known.get("24"))


def refuse_rate(ending: str, rate: int) -> None:
    """Refuse a rate (Hz) that the format of an ending does not know.

    Example
    -------
    >>> refuse_rate("wav", 22255), refuse_rate("mp3", 44100)
    (None, None)
    """
    known = RATES_OF.get(ending.lower().lstrip("."))
    if known and rate not in known:
        raise ValueError(
            f"{ending} holds no {rate} Hz; leave keep_rate (--keep-rate) and "
            "keep_highs (--keep-highs) out, or write wav or flac."
        )


def read_tags(source: str | Path | BinaryIO) -> dict[str, str]:
    """Read the tags (title, date, ...) of a sound; none where none are known."""
    import soundfile

    if not hasattr(source, "read"):  # whatever its name is made of
        with open(source, "rb") as file:
            return read_tags(file)
    try:
        with soundfile.SoundFile(source) as sound:
            found = {key: getattr(sound, key) for key in TAG_NAMES}
    except (soundfile.LibsndfileError, OSError, TypeError, RuntimeError):
        source.seek(0)
        found = tags_by_av(source)
    finally:
        source.seek(0)
    return {key: text for key, text in found.items() if text}


def tags_by_av(file: BinaryIO) -> dict[str, str]:
    """Read tags with PyAV, if it is installed and knows the format."""
    from speechbrain_llase.dataio.media_file import open_container

    try:
        with open_container(file, file) as container:
            found = {k.lower(): x for k, x in container.metadata.items()}
    except (ImportError, OSError, ValueError):
        return {}
    found.setdefault("tracknumber", found.get("track"))
    return {key: found.get(key) for key in TAG_NAMES}
