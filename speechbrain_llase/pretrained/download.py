"""The official files: fetched once, resumable, their checksums compared.

The hub's own client moves the bytes, but not through its cache, which forgets
the part of a file that it got when a download breaks off: here the part stays,
and the next run asks for the rest.

Authors
 * The speechbrain_llase contributors 2026
"""

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get

from speechbrain_llase.pretrained.convert import LICENCES, sha256

# What the hub's HTTP client raises when a connection fails; the client is
# httpx or httpx2, by huggingface_hub's version.
ConnectionFailed = HfHubHTTPError.__bases__[0]
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


@dataclass(frozen=True)
class Source:
    """One official file on the hub."""

    part: str  # as `convert` calls it
    repo: str
    name: str

    @property
    def licence(self) -> str:
        """The licence that `convert` writes down too."""
        return LICENCES[self.part]


OFFICIAL = {
    "llase": [
        Source("wavlm", "microsoft/wavlm-large", "pytorch_model.bin"),
        Source("lm", "BeauKang01/LLaSE", "best.pt.tar"),
        Source("codec", "HKUSTAudio/xcodec2-hf", "model.safetensors"),
    ]
}


@dataclass(frozen=True)
class Download:
    """A file, where it comes from and where it goes."""

    source: Source
    path: Path  # in the cache
    size: int  # bytes
    url: str = ""  # "" for a file that is there and whole
    etag: str = ""  # the SHA-256 of large files, as the hub states it

    @property
    def partial(self) -> Path:
        """Where the bytes are gathered; the name belongs to the content."""
        version = hashlib.sha256(self.etag.encode()).hexdigest()[:12]
        return self.path.with_name(f"{self.path.name}.{version}.part")

    @property
    def remaining(self) -> int:
        """Bytes still to fetch."""
        if not self.url:
            return 0
        there = self.partial.stat().st_size if self.partial.exists() else 0
        return max(self.size - there, 0)


def plan(
    name: str, cache: Path, endpoint: str | None = None
) -> Iterator[Download]:
    """Look up every file of a model, in the cache first, then on the hub.

    Arguments
    ---------
    name : str
        A key of OFFICIAL.
    cache : Path
        Folder of the files; a file whose checksum holds is not looked up.
    endpoint : str, optional
        Of the hub or of a mirror; HF_ENDPOINT, else huggingface.co, if None.

    Yields
    ------
    download : Download
        For each file, in order.

    Raises
    ------
    OSError
        The hub cannot be reached, or does not have the file.
    ValueError
        What answers is no hub.
    """
    for source in OFFICIAL[name]:
        path = cache / source.repo.replace("/", "--") / source.name
        if is_whole(path):
            yield Download(source, path, path.stat().st_size)
            continue
        url = hf_hub_url(source.repo, source.name, endpoint=endpoint)
        try:
            found = get_hf_file_metadata(url, token=False, endpoint=endpoint)
        except (ConnectionFailed, OfflineModeIsEnabled) as err:
            raise unreachable(url, err) from err
        if not found.etag or not found.size or not found.commit_hash:
            raise ValueError(
                f"{url} answers without checksum, size or commit: no hub, "
                "perhaps a log-in page. Check --endpoint and the network."
            )
        yield Download(source, path, found.size, found.location, found.etag)


def fetch(download: Download) -> Path:
    """Fetch one file, or the rest of it, and check it.

    Arguments
    ---------
    download : Download
        Of `plan`.

    Returns
    -------
    path : Path
        The whole file; beside it, a `.sha256` for ``sha256sum -c``.

    Raises
    ------
    OSError
        The connection fails or the disk is full; the part that came stays.
    ValueError
        Something else came than the hub announced; it was deleted.
    """
    if not download.url:
        return download.path
    partial = download.partial
    partial.parent.mkdir(parents=True, exist_ok=True)
    if not download.remaining and partial.stat().st_size > download.size:
        partial.unlink()
    try:
        with open(partial, "ab") as file:
            http_get(
                download.url,
                file,
                resume_size=file.tell(),
                expected_size=download.size,
                displayed_filename=download.source.name,
            )
    except ConnectionFailed as err:
        raise unreachable(download.url, err) from err
    except OSError as err:
        if err.errno is not None:  # of the disk: what came is good
            raise
        partial.unlink()  # another size
        raise ValueError(
            f"{download.url} did not give the {download.size} bytes that the "
            "hub announced, perhaps a web page; what came was deleted. Check "
            "the network and try again."
        ) from err
    digest = sha256(partial)
    if re.fullmatch(r"[0-9a-f]{64}", download.etag) and digest != download.etag:
        partial.unlink()
        raise ValueError(
            f"{download.url} gave a file with SHA-256 {digest}, the hub states "
            f"{download.etag}; it was deleted. Try again, without a mirror if "
            "you used one."
        )
    note = checksum_file(download.path)
    note.write_text(f"{digest}  {download.path.name}\n", encoding="utf-8")
    return partial.replace(download.path)


def is_whole(path: Path) -> bool:
    """Is the file there, with the checksum that was noted?"""
    note = checksum_file(path)
    if not path.is_file() or not note.is_file():
        return False
    return note.read_text("utf-8").split()[:1] == [sha256(path)]


def checksum_file(path: Path) -> Path:
    """Where the checksum of a file is noted."""
    return path.with_name(f"{path.name}.sha256")


def unreachable(url: str, err: Exception) -> OSError:
    """Say what did not answer, how, and what to do."""
    answer = getattr(getattr(err, "response", None), "status_code", None)
    if answer in (401, 403, 404):
        reason = f"is not there (HTTP {answer}). Check --endpoint"
    elif isinstance(err, OfflineModeIsEnabled):
        reason = "was not asked for: HF_HUB_OFFLINE is set. Unset it"
    else:
        reason = (
            f"cannot be fetched ({' '.join(str(err).split()) or answer}). What "
            "came is kept; run the same command again to fetch the rest"
        )
    return ConnectionError(f"{url} {reason}.")


def check_space(
    downloads: list[Download], cache: Path, output: Path, dtype: str
) -> None:
    """Refuse before anything is fetched if the disk is too small.

    Arguments
    ---------
    downloads : list of Download
        What is to be fetched.
    cache, output : Path
        Where the files and the converted folder go.
    dtype : str
        Of the folder. Its size is not known yet: at most, that of the files
        in this dtype is taken, if they are in float32.

    Raises
    ------
    OSError
        There is too little room.
    """
    wanted = {}
    folder = sum(d.size for d in downloads) * BYTES[dtype] // 4
    missing = sum(d.remaining for d in downloads)
    for place, size in ((cache, missing), (output.parent, folder)):
        while not place.exists():
            place = place.parent
        disk = place.stat().st_dev
        wanted[disk] = (place, wanted.get(disk, (place, 0))[1] + size)
    for place, size in wanted.values():
        free = shutil.disk_usage(place).free
        if free < size:
            raise OSError(
                f"The disk of {place} has {free / 1e9:.1f} GB left, up to "
                f"{size / 1e9:.1f} GB are needed. Make room, or name other "
                "places by --cache and --output."
            )
