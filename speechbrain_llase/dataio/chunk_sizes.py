"""How many bytes of samples a container states, and how many it holds.

Recorders that were cut off, pipes and files over 4 GiB leave sizes that are
too small, too large, wrapped or nothing; libsndfile would believe them. WAV,
RF64, W64, AIFF and CAF are made of chunks; AU has one head.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from speechbrain_llase.dataio.file_views import Spliced, size_of

WRAP = 1 << 32  # where sizes of 32 bits begin anew
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICS", b"<?xm")  # after the samples
PADDING = 1 << 16  # bytes of zeros after the samples that are none of them
PRINTABLE = range(0x20, 0x7F)


@dataclass(frozen=True)
class Layout:
    """How a container names its chunks."""

    first: int  # byte of the first one
    head: str  # of a chunk: name and size, as `struct` says it
    audio: bytes  # name of the one that holds the samples
    skip: int = 0  # bytes of it before the samples
    even: int = 2  # what sizes are rounded up to
    counts_head: bool = False  # sizes do
    little: bool = True  # byte order


GUID = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"  # ends W64's names
LAYOUTS = {
    b"RIFF": Layout(12, "<4sI", b"data"),
    b"RIFX": Layout(12, ">4sI", b"data", little=False),
    b"RF64": Layout(12, "<4sI", b"data"),
    b"BW64": Layout(12, "<4sI", b"data"),
    b"FORM": Layout(12, ">4sI", b"SSND", 8, little=False),
    b"caff": Layout(8, ">4sq", b"data", 4, 1, little=False),
    b"riff": Layout(40, "<16sQ", b"data" + GUID, 0, 8, counts_head=True),
}


@dataclass(frozen=True)
class SampleData:
    """Where a container's samples lie, in bytes."""

    start: int
    stated: int | None  # as many, says the header; None: it does not know
    held: int  # as many are there
    little: bool  # byte order, as far as the container says it
    field: int  # byte at which the size is stated
    form: str  # how, as `struct` says it
    more: int = 0  # that the size there counts beside the samples

    @property
    def is_right(self) -> bool:
        """Whether the header is to be believed."""
        return self.stated == self.held


def find_samples(file: BinaryIO) -> SampleData | None:
    """Find the samples of an open file; None where its kind has no chunks."""
    size = size_of(file)
    file.seek(0)
    magic = file.read(4)
    if magic in (b".snd", b"dns."):
        return find_au(file, size, magic == b"dns.")
    layout = LAYOUTS.get(magic)
    if layout is None:
        return None
    field, form, wide = 0, layout.head[0] + layout.head[-1], None
    more = layout.skip + struct.calcsize(layout.head) * layout.counts_head
    for name, start, length in chunks(file, layout, layout.first, size):
        if name == b"ds64":  # the sizes that RF64 writes beside the chunks
            file.seek(start + 8)
            wide = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
            field = start + 8
        if name != layout.audio:
            continue
        if wide is not None and length == WRAP - 1:
            length, form = wide, "<Q"
        else:
            field = start - struct.calcsize(form)
        end = find_end(file, layout, start, length, size)
        is_known = is_stated(length) or end == start + length
        return SampleData(
            start + layout.skip,
            max(0, length - layout.skip) if is_known else None,
            max(0, end - start - layout.skip),
            layout.little,
            field,
            form,
            more,
        )
    return None


def chunks(
    file: BinaryIO, layout: Layout, place: int, size: int
) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, first byte and length of chunk after chunk."""
    head = struct.calcsize(layout.head)
    while place + head <= size:
        file.seek(place)
        name, length = struct.unpack(layout.head, file.read(head))
        length -= head * layout.counts_head
        yield name, place + head, length
        if length < 0:
            return
        place += head + length + -length % layout.even


def is_stated(length: int) -> bool:
    """Tell a length from what those write who do not know it."""
    marks = (WRAP // 2 - 256, WRAP - 256)
    is_mark = any(0 <= length - mark < 256 for mark in marks)
    return 0 < length < 1 << 62 and not is_mark


def find_end(
    file: BinaryIO, layout: Layout, start: int, length: int, size: int
) -> int:
    """Find the byte after the samples: where chunks go on, or the end."""
    if length < 0:
        return size
    for end in range(start + length, size, WRAP):
        if ends_well(file, layout, end, size):
            return end
    return size


def ends_well(file: BinaryIO, layout: Layout, end: int, size: int) -> bool:
    """Tell whether chunks, tags or padding follow, up to a file's end."""
    file.seek(end)
    rest = file.read(min(size - end, PADDING + 1))
    if rest.startswith(TAGS) or (len(rest) <= PADDING and not any(rest)):
        return True
    if end + len(rest) == size and len(rest) < 8:
        return True
    return any(
        follows(file, layout, place, size)
        for place in {end, end + -end % layout.even}
    )


def follows(file: BinaryIO, layout: Layout, place: int, size: int) -> bool:
    """Tell whether chunks with names follow that fit into the file."""
    end = place
    for name, start, length in chunks(file, layout, place, size):
        if layout.counts_head:
            is_name = name.endswith(GUID) or not any(name)
        else:
            is_name = all(letter in PRINTABLE for letter in name)
        end = start + length
        if not is_name or not 0 <= length <= size - start + 1:
            return False
    file.seek(min(end, size))
    return end > place and not any(file.read(PADDING))


def find_au(file: BinaryIO, size: int, little: bool) -> SampleData | None:
    """Find the samples of Sun's format, whose size may be unknown."""
    head = file.read(8)
    if len(head) < 8:
        return None
    start, stated = struct.unpack("<II" if little else ">II", head)
    held = max(0, size - start)
    if 0 < stated < held and held - stated <= PADDING:
        file.seek(start + stated)
        if not any(file.read(PADDING)):
            held = stated
    known = None if stated in (0, WRAP - 1) else stated
    form = "<I" if little else ">I"
    return SampleData(start, known, held, little, 8, form)


def with_size(file: BinaryIO, data: SampleData) -> Spliced:
    """Give a file that states as many bytes of samples as it holds."""
    file.seek(0)
    head = bytearray(file.read(data.start))
    most = (1 << 8 * struct.calcsize(data.form) - 1) - 1
    size = min(most, data.held + data.more)
    struct.pack_into(data.form, head, data.field, size)
    return Spliced(bytes(head), file, data.start, data.start + data.held)
