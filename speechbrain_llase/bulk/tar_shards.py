"""WebDataset shards: tar files with KEY.wav, KEY.json and the like.

Read by the standard library's tarfile, as a stream: webdataset's own reader
opens URLs by running shell commands (`pipe:`, curl, gsutil) instead of
fsspec, and reads members into memory without their times and modes. Members
are never extracted to the paths that they name, links are not followed, and
nothing but audio is decoded: pickles are carried as bytes.
"""

import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from speechbrain_llase.bulk.container_items import (
    Container,
    Contents,
    InsideOptions,
    Item,
)
from speechbrain_llase.bulk.storage import open_stream
from speechbrain_llase.dataio.audio_files import SOUND_SUFFIXES
from speechbrain_llase.dataio.urls import check_key

if TYPE_CHECKING:
    from speechbrain_llase.inference.enhancement import EnhanceLLaSE

KEY_AND_COLUMN = re.compile(r"^((?:.*/)?[^.]+)[.]([^/]*)$")  # as webdataset
IN_MEMORY = 1 << 18  # bytes of a carried member; larger ones go to disk
ENDINGS_SHOWN = 8  # endings in a message


def enhance_shard(
    enhancer: "EnhanceLLaSE",
    source: str,
    path: Path,
    options: InsideOptions,
    stop: Callable[[], bool] = lambda: False,
) -> Contents:
    """Enhance the recordings of one shard; `path` gets the new one.

    If it ends in `.gz` or `.tgz`, it is compressed. Recordings that fail are
    left out of it; all other members are in it as they were, in their order.
    ValueError: the file is no tar file, is damaged, or holds no audio;
    Stopped: `stop` was true. After an error `path` is incomplete.
    """
    mode = "w:gz" if path.suffix.endswith("gz") else "w"
    try:
        with (
            open_stream(source) as stream,
            tempfile.TemporaryDirectory(prefix="llase-") as scratch,
            tarfile.open(fileobj=stream, mode="r|*") as tar,
            tarfile.open(path, mode) as out,
        ):
            shard = Shard(tar, out, Path(scratch), options)
            contents = shard.enhance(enhancer, stop)
            shard.refuse_silent()
        return contents
    except (tarfile.TarError, zlib.error, EOFError) as err:
        raise ValueError(f"not a tar file, or damaged: {err}") from err


@dataclass
class Member:
    """A member that waits for its turn to be written."""

    info: tarfile.TarInfo
    data: BinaryIO | None = None  # of one that is carried
    item: Item | None = None  # of one that is enhanced


class Shard(Container):
    """A shard that is copied while its recordings are enhanced."""

    def __init__(self, tar: tarfile.TarFile, *container: Any):
        super().__init__(*container)
        self.tar = tar
        self.names: set[str] = set()  # that are taken
        self.columns: set[str] = set()  # that were seen

    def items(self) -> Iterator[Item]:
        """Yield recordings; what lies between them is put aside."""
        for info in self.tar:
            self.tar.members.clear()  # it would keep every header
            if info.isdir():
                continue
            try:
                check_member(info)
                member = self.take(info)
            except ValueError as err:
                self.contents.fail(info.name, str(err))
                continue
            self.waiting.append(member)
            if member.item:
                yield member.item
            else:
                self.flush()

    def take(self, info: tarfile.TarInfo) -> Member:
        """Put a member's data aside."""
        match = KEY_AND_COLUMN.match(info.name.removeprefix("./"))
        column = match[2] if match else ""
        self.columns.add(column)
        if not self.is_audio(column):
            self.claim(info.name)
            data = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=self.scratch)
            shutil.copyfileobj(self.tar.extractfile(info), data)
            data.seek(0)
            return Member(info, data)
        ending = self.options.format_for(info.name)
        new = copy(info)
        new.name = f"{info.name.rpartition('.')[0]}.{ending}"
        new.pax_headers = {}  # they hold the old name and size
        self.claim(new.name)
        number = self.contents.items + len(self.waiting)
        source = self.scratch / f"{number}-{len(self.names)}.noisy"
        with source.open("wb") as file:
            shutil.copyfileobj(self.tar.extractfile(info), file)
        result = source.with_suffix(f".{ending}")
        return Member(new, item=Item(info.name, source, result))

    def claim(self, name: str) -> None:
        """Refuse two members of one name."""
        if name in self.names:
            raise ValueError(f"the new shard has a member {name} already.")
        self.names.add(name)

    def is_audio(self, column: str) -> bool:
        """Tell by KEY.column whether a member is to be enhanced."""
        if self.options.column:
            return column == self.options.column
        return f".{column.lower()}" in SOUND_SUFFIXES

    def flush(self) -> None:
        """Write the members whose turn has come."""
        while self.waiting:
            member = self.waiting[0]
            if member.item and not member.item.is_done:
                return
            self.waiting.popleft()
            if member.data:
                with member.data:
                    self.out.addfile(member.info, member.data)
            elif not member.item.error:
                with member.item.result.open("rb") as file:
                    member.info.size = file.seek(0, 2)
                    file.seek(0)
                    self.out.addfile(member.info, file)
                member.item.result.unlink()
            self.out.members.clear()

    def refuse_silent(self) -> None:
        """Refuse a shard without any recording."""
        if self.contents.items:
            return
        wanted = self.options.column or "wav, flac, ..."
        seen = ", ".join(sorted(self.columns)[:ENDINGS_SHOWN]) or "none"
        raise ValueError(
            f"the shard holds no KEY.{wanted}; endings in it: {seen}. Name "
            "the one to enhance with --column."
        )


def check_member(info: tarfile.TarInfo) -> None:
    """Refuse members that are no plain files below the shard."""
    check_key(info.name.removeprefix("./"))
    if not info.isreg() or info.issparse():
        raise ValueError("it is a link, a device or a sparse file.")
