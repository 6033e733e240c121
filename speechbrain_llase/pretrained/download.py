"""The official files: fetched once, resumable, their checksums compared.

The hub's own client moves the bytes, but not through its cache, which forgets
the part of a file that it got when a download breaks off: here the part stays,
and the next run asks for the rest.
"""

import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get

from speechbrain_llase.pretrained.convert import sha256
from speechbrain_llase.pretrained.official import MODELS, ON_HUB, OfficialFile

# What the hub's HTTP client raises when a connection fails; the client is
# httpx or httpx2, by huggingface_hub's version.
ConnectionFailed = HfHubHTTPError.__bases__[0]
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
# How many weights a folder holds, if the official files have their sizes.
WEIGHTS = {"wavlm": 88_708_368, "lm": 271_678_464, "codec": 186_983_682}
ENCODER_WEIGHTS = 442_297_000  # and with the encoding half
BESIDE_WEIGHTS = 1_000_000  # bytes: YAML, manifest, names


@dataclass(frozen=True)
class Download:
    """A file, where it comes from and where it goes."""

    source: OfficialFile
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
    name: str,
    cache: Path,
    endpoint: str | None = None,
    take: Sequence[str] = (),
) -> Iterator[Download]:
    """Look up every file of a model, in the cache first, then on the hub.

    Arguments
    ---------
    name : str
        A key of MODELS.
    cache : Path
        Folder of the files; a file whose checksum holds is not looked up.
    endpoint : str, optional
        Of the hub or of a mirror; HF_ENDPOINT, else huggingface.co, if None.
    take : sequence of str
        Keys of ON_HUB: files to take in the place of those of their part.

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
    sources = {source.part: source for source in MODELS[name]}
    sources |= {ON_HUB[other].part: ON_HUB[other] for other in take}
    for source in sources.values():
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
        # not where it points to: such an address holds for an hour
        yield Download(source, path, found.size, url, found.etag)


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


def folder_size(downloads: list[Download], dtype: str, encoder: bool) -> int:
    """Bytes of the converted folder, at most.

    Of files that have not the size that they are known to have, all that they
    hold is taken, in float32.
    """
    weights = ENCODER_WEIGHTS if encoder else 0
    for download in downloads:
        if download.source.differs(download.size):
            weights += download.size // 4
        else:
            weights += WEIGHTS.get(download.source.part, 0)
    return weights * BYTES[dtype] + BESIDE_WEIGHTS


def check_space(
    downloads: list[Download], cache: Path, output: Path, folder: int
) -> None:
    """Refuse before anything is fetched if the disk is too small.

    Arguments
    ---------
    downloads : list of Download
        What is to be fetched.
    cache, output : Path
        Where the files and the converted folder go.
    folder : int
        Bytes of the latter, at most.

    Raises
    ------
    OSError
        There is too little room.
    """
    wanted = {}
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


def discard(downloads: list[Download], cache: Path) -> None:
    """Delete what was fetched, and the folders that are empty then."""
    for download in downloads:
        checksum_file(download.path).unlink(missing_ok=True)
        download.path.unlink(missing_ok=True)
        for folder in download.path.parents:
            if not folder.is_relative_to(cache) or any(folder.iterdir()):
                break
            folder.rmdir()
