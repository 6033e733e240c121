"""Names of places: URLs and paths, how they are joined and how they are shown."""

import os
import re
from pathlib import Path

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+://)[^/@\s'\"]+@")
QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]+")
LOCAL = ("file", "local")
GLOB = re.compile(r"[*?\[]")


def is_url(text: str) -> bool:
    """Tell a URL from a path.

    Example
    -------
    >>> [is_url(t) for t in ("s3://bucket/a.wav", "C:/a.wav", "a://", "a.wav")]
    [True, False, False, False]
    """
    return bool(URL.match(text))


def protocol_of(place: str) -> str:
    """Protocol of a URL in small letters; `file` for a path."""
    match = URL.match(place)
    return match[1].lower() if match else "file"


def local_path(place: str) -> Path | None:
    """Path of a place on this machine; None for one elsewhere.

    Example
    -------
    >>> str(local_path("file:///tmp/a.wav")), local_path("s3://bucket/a.wav")
    ('/tmp/a.wav', None)
    """
    if protocol_of(place) not in LOCAL:
        return None
    path = URL.sub("", place, count=1)
    if os.name == "nt":  # file:///C:/a.wav
        path = re.sub(r"^/(?=[A-Za-z]:)", "", path)
    return Path(path)


def whole(place: str) -> str:
    """Give a place a name that holds in every process.

    Example
    -------
    >>> whole("s3://bucket/clean/"), whole("file:///data/clean")
    ('s3://bucket/clean', '/data/clean')
    """
    path = local_path(place)
    return os.path.abspath(path) if path else place.rstrip("/")


def name_of(place: str) -> str:
    """Last part of a place.

    Example
    -------
    >>> name_of("https://host/a/b.wav?token=1"), name_of("s3://bucket/a/")
    ('b.wav', 'a')
    """
    if protocol_of(place) in ("http", "https"):
        place = place.partition("?")[0]
    if not is_url(place):
        place = place.replace(os.sep, "/")
    return place.rstrip("/").rpartition("/")[2]


def join(top: str, key: str) -> str:
    """Place of a key below a folder; ValueError if it would lead out of it.

    Example
    -------
    >>> join("s3://bucket/clean/", "day1/a.wav")
    's3://bucket/clean/day1/a.wav'
    """
    check_key(key)
    return f"{top.rstrip('/')}/{key}" if top != "/" else f"/{key}"


def check_key(key: str) -> None:
    """Refuse a key that is not a plain path below its folder."""
    parts = key.split("/")
    odd = "\\" in key or "\0" in key or URL.match(key)
    if odd or any(part in ("", ".", "..") for part in parts):
        raise ValueError(
            f"the name {key!r} is refused: names must be relative and hold "
            "no '..', no '.', no empty part and no backslash."
        )


def split_glob(place: str) -> tuple[str, bool]:
    """Folder that a pattern starts from, and whether there is a pattern.

    Example
    -------
    >>> split_glob("s3://bucket/shards/*/a-*.tar")
    ('s3://bucket/shards', True)
    """
    match = GLOB.search(place)
    if not match or protocol_of(place) in ("http", "https"):
        return place, False
    top = place[: match.start()]
    ends = ("/",) if is_url(place) else ("/", os.sep)
    top = top[: max(0, *map(top.rfind, ends))]
    return top or ("/" if place.startswith("/") else "."), True


def show(text: str) -> str:
    """Take passwords and tokens out of URLs before they are printed.

    Example
    -------
    >>> show("ftp://me:secret@host/a.wav https://host/b.wav?token=1 failed")
    'ftp://***@host/a.wav https://host/b.wav?*** failed'
    """
    return QUERY.sub(r"\1?***", USER.sub(r"\1***@", text))
