"""Views of an open file: its bytes, or a new head and then its bytes."""

import io
import mmap
from typing import BinaryIO


class Spliced(io.RawIOBase):
    """A new head, then the bytes from `start` to `stop` of a file."""

    def __init__(self, head: bytes, file: BinaryIO, start: int, stop: int):
        self.head, self.file = head, file
        self.start, self.stop = start, stop
        self.place = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        end = len(self.head) + self.stop - self.start
        self.place = offset + (0, self.place, end)[whence]
        return self.place

    def tell(self) -> int:
        """Byte that is read next."""
        return self.place

    def readinto(self, buffer) -> int:
        """Read the next bytes."""
        data = self.head[self.place : self.place + len(buffer)]
        if not data:
            place = self.start + self.place - len(self.head)
            self.file.seek(place)
            left = max(0, self.stop - place)
            data = self.file.read(min(len(buffer), left))
        memoryview(buffer).cast("B")[: len(data)] = data
        self.place += len(data)
        return len(data)


def size_of(file: BinaryIO) -> int:
    """Bytes of an open file, whose place stays."""
    place = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(place)
    return size


def mapped(file: BinaryIO) -> "mmap.mmap | bytes":
    """Give the bytes of an open file without reading them all."""
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # it is in memory, or empty
        file.seek(0)
        return file.read()


def after_tags(data: bytes, place: int) -> int:
    """Skip tags with pictures and the like that stand before frames."""
    while data[place : place + 3] == b"ID3" and len(data) >= place + 10:
        size = 0
        for byte in data[place + 6 : place + 10]:
            size = size << 7 | byte & 127
        place += 10 + size
    return place


def count_links(file: BinaryIO) -> int:
    """Count the streams that stand one after the other in an Ogg file."""
    data = mapped(file)
    links, place, is_head = 0, 0, False
    while data[place : place + 4] == b"OggS" and len(data) >= place + 27:
        begins = bool(data[place + 5] & 2)
        links += begins and not is_head
        is_head = begins
        sizes = data[place + 27 : place + 27 + data[place + 26]]
        place += 27 + len(sizes) + sum(sizes)
    return links
