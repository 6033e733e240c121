"""The official files: fetched once, resumable, their checksums compared.

The hub's own client moves the bytes, but not by `hf_hub_download`, which deletes
the part of a file that it got when a download breaks off (huggingface_hub 2.4):
here the part stays, and the next run asks for the rest.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    HfFileMetadata,
    get_hf_file_metadata,
    hf_hub_url,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
)
from huggingface_hub.file_download import http_get

from speechbrain_llase.dataio.whole_files import no_link, whole_file
from speechbrain_llase.pretrained.convert import sha256
from speechbrain_llase.pretrained.official import (
    DTYPES,
    ENCODER_WEIGHTS,
    MODELS,
    ON_HUB,
    WEIGHTS,
    OfficialFile,
)

# What the hub's HTTP client raises when a connection fails; the client is
# httpx or httpx2, by huggingface_hub's version.
ConnectionFailed = HfHubHTTPError.__bases__[0]
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
        return self.path.with_name(f"{self.path.name}.{self.etag[:12]}.part")

    @property
    def checksum_file(self) -> Path:
        """For ``sha256sum -c``; only whole files have one."""
        return self.path.with_name(f"{self.path.name}.sha256")

    def is_whole(self) -> bool:
        """Is the file there, with the checksum that was noted?"""
        if not self.path.is_file() or not self.checksum_file.is_file():
            return False
        noted = self.checksum_file.read_text("utf-8").split()[:1]
        return noted == [sha256(self.path)]

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

    Files in `take`, keys of ON_HUB, come in the place of those of their part.
    Without an endpoint HF_ENDPOINT is asked, else huggingface.co. An OSError
    if the hub cannot be reached or has no such file, a ValueError if what
    answers is no hub.
    """
    sources = {source.part: source for source in MODELS[name]}
    sources |= {ON_HUB[other].part: ON_HUB[other] for other in take}
    for source in sources.values():
        path = cache / source.repo.replace("/", "--") / source.name
        if Download(source, path, 0).is_whole():
            yield Download(source, path, path.stat().st_size)
            continue
        url, found = look_up(source, endpoint)
        if not found.etag or not found.size or not found.commit_hash:
            raise ValueError(
                f"{url} answers without checksum, size or commit: no hub, "
                "perhaps a log-in page. Check --endpoint and the network."
            )
        # not where it points to: such an address holds for an hour
        yield Download(source, path, found.size, url, found.etag)


def look_up(
    source: OfficialFile, endpoint: str | None
) -> tuple[str, HfFileMetadata]:
    """Find a file's URL and what the hub says of it; errors as above."""
    for name in filter(None, (source.name, source.or_else)):
        url = hf_hub_url(source.repo, name, endpoint=endpoint)
        try:
            found = get_hf_file_metadata(url, token=False, endpoint=endpoint)
            return url, found
        except EntryNotFoundError as err:
            missing = unreachable(url, err)
        except (ConnectionFailed, OfflineModeIsEnabled) as err:
            raise unreachable(url, err) from err
    raise missing


def fetch(download: Download) -> Path:
    """Fetch one file, or the rest of it, check it and note its checksum.

    An OSError if the connection fails or the disk is full: the part that came
    stays. A ValueError if something else came than the hub announced: it was
    deleted.
    """
    if not download.url:
        return download.path
    partial = download.partial
    partial.parent.mkdir(parents=True, exist_ok=True)
    if not download.remaining and partial.stat().st_size > download.size:
        partial.unlink()
    try:
        with open(partial, "ab", opener=no_link) as file:
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
    note = f"{digest}  {download.path.name}\n"
    with whole_file(download.checksum_file) as new:
        new.write_text(note, encoding="utf-8")
    return partial.replace(download.path)


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
        known = WEIGHTS.get(download.source.kind, 0)
        is_other = download.source.differs(download.size)
        weights += download.size // 4 if is_other else known
    return weights * DTYPES[dtype] + BESIDE_WEIGHTS


def check_space(
    downloads: list[Download], cache: Path, output: Path, folder: int
) -> None:
    """Refuse by an OSError, before anything is fetched, if a disk is too small.

    The files go to the cache, the converted folder of at most `folder` bytes
    to the output.
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
        download.checksum_file.unlink(missing_ok=True)
        download.path.unlink(missing_ok=True)
        for folder in download.path.parents:
            if not folder.is_relative_to(cache) or any(folder.iterdir()):
                break
            folder.rmdir()
