"""How many samples a FLAC file states, and how many it holds."""

import re
from dataclasses import dataclass
from typing import BinaryIO

from speechbrain_llase.dataio.file_views import Spliced, after_tags, mapped

TAIL = 1 << 18  # bytes at the end of a FLAC file that hold its last frames
BLOCKS = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608} | {
    8 + k: 256 << k for k in range(8)
}


@dataclass(frozen=True)
class Flac:
    """What there is of a FLAC file."""

    info: int  # byte of its first block of metadata
    stop: int  # byte after its last whole frame
    stated: int  # samples of one channel that it counts; 0: not known
    held: int  # that are there


def find_flac(file: BinaryIO) -> Flac | None:
    """Look for the last whole frame of a FLAC file."""
    data = mapped(file)
    info = after_tags(data, 0) + 8
    if data[info - 8 : info - 4] != b"fLaC" or len(data) < info + 18:
        return None
    stated = int.from_bytes(data[info + 13 : info + 18], "big") & (1 << 36) - 1
    block = int.from_bytes(data[info : info + 2], "big")
    start = max(info + 34, len(data) - TAIL)
    tail = bytes(data[start:])
    found = [
        (place, *frame)
        for place in places(tail)
        if (frame := flac_frame(tail[place : place + 16], block))
    ]
    ends = {first + count for _, first, count in found}
    for place, first, count in reversed(found):
        if first and first not in ends and len(found) > 1:
            continue  # it only looks like a frame
        is_whole = any(
            not crc(tail[place:end], 16, 0x8005)
            for end in (len(tail), len(tail) - 128)  # 128: a tag
            if end - place > 4
        )
        stop = len(data) if is_whole else start + place
        return Flac(info, stop, stated, first + count * is_whole)
    return None


def places(tail: bytes) -> list[int]:
    """List where frames of FLAC may begin."""
    return [match.start() for match in re.finditer(b"\xff[\xf8\xf9]", tail)]


def flac_frame(head: bytes, block: int) -> tuple[int, int] | None:
    """First sample and samples of a frame of FLAC; None if it is none."""
    if len(head) < 6 or head[3] & 1 or head[3] >> 4 > 10:
        return None
    ones = 8 - (head[4] ^ 255).bit_length()
    more = max(0, ones - 1)
    if ones in (1, 8) or len(head) < 6 + more:
        return None
    number = head[4] & 0x7F >> ones
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 63
    end = 5 + more
    code, rate = head[2] >> 4, head[2] & 15
    wide = {6: 1, 7: 2}.get(code, 0)
    count = BLOCKS.get(code) or 1 + int.from_bytes(
        head[end : end + wide], "big"
    )
    end += wide + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if not code or rate == 15 or len(head) <= end or crc(head[: end + 1], 8, 7):
        return None
    return (number if head[1] & 1 else number * block), count


def crc(data: bytes, bits: int, polynomial: int) -> int:
    """Checksum of bytes, high bits first; 0 where they end in their own."""
    top, value = 1 << bits - 1, 0
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value & top else 0)
        value &= (1 << bits) - 1
    return value


def with_total(file: BinaryIO, flac: Flac) -> Spliced:
    """Give a FLAC file that counts the samples that it holds."""
    file.seek(0)
    head = bytearray(file.read(flac.info + 18))
    old = int.from_bytes(head[-5:], "big") >> 36 << 36
    head[-5:] = (old | flac.held).to_bytes(5, "big")
    return Spliced(bytes(head), file, len(head), flac.stop)
