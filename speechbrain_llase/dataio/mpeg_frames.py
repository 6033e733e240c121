"""How many frames an MP3 file states, and how many it holds.

The tag in a first frame (Xing or Info) counts them; where a file was cut,
joined or never had a tag, libsndfile would believe the tag, or guess.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from speechbrain_llase.dataio.file_views import Spliced, after_tags, mapped

RATES_KBPS = {  # by MPEG 1 or not, and layer
    (True, 1): "0 32 64 96 128 160 192 224 256 288 320 352 384 416 448",
    (True, 2): "0 32 48 56 64 80 96 112 128 160 192 224 256 320 384",
    (True, 3): "0 32 40 48 56 64 80 96 112 128 160 192 224 256 320",
    (False, 1): "0 32 48 56 64 80 96 112 128 144 160 176 192 224 256",
    (False, 2): "0 8 16 24 32 40 48 56 64 80 96 112 128 144 160",
}
KBPS = {kind: [int(x) for x in y.split()] for kind, y in RATES_KBPS.items()}
KBPS[False, 3] = KBPS[False, 2]
SAME_BITS = 0xFFFE0C00  # bits that all frames of a file share
JUNK = 1 << 20  # bytes without a frame after which none is looked for
LAME_DELAYS = 22  # bytes of LAME's own tag before its padding's four bits


@dataclass(frozen=True)
class MpegFrame:
    """What the four bytes before a frame say."""

    word: int
    length: int  # bytes
    samples: int
    rate: int
    side: int  # bytes between these and the tag of the first frame


def mpeg_frame(word: int) -> MpegFrame | None:
    """Read a frame's first four bytes; None if it is no frame."""
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    bitrate, rate = word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or rate == 3:
        return None
    if bitrate in (0, 15):
        return None
    first = version == 3
    kbps = KBPS[first, layer][bitrate]
    rate = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    pad = word >> 9 & 1
    if layer == 1:
        return MpegFrame(word, (12000 * kbps // rate + pad) * 4, 384, rate, 0)
    samples = 1152 if first or layer == 2 else 576
    length = samples * 125 * kbps // rate + pad
    mono = word >> 6 & 3 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return MpegFrame(word, length, samples, rate, side)


@dataclass(frozen=True)
class Mpeg:
    """What there is of an MP3 file."""

    start: int  # byte of its first frame
    stop: int  # byte after its last whole one
    first: MpegFrame
    tag: int | None  # byte of the first frame's tag, if it has one
    stated: int | None  # frames that the tag counts
    frames: int  # that are there, that with the tag left out

    @property
    def samples(self) -> int:
        """Samples of one channel in them."""
        return self.frames * self.first.samples


def may_be_mpeg(file: BinaryIO) -> bool:
    """Tell by its first bytes whether an open file may be MP3."""
    file.seek(0)
    head = file.read(3)
    return head == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")


def find_mpeg(file: BinaryIO) -> Mpeg | None:
    """Count the frames of an MP3 file."""
    data = mapped(file)
    place = after_tags(data, 0)
    start, first, frames, stop = 0, None, 0, place
    while (found := next_frame(data, place, first)) is not None:
        place, frame = found
        if first is None:
            start, first = place, frame
        frames += 1
        place += frame.length
        stop = place
    if first is None:
        return None
    tag = start + 4 + first.side
    name = data[tag : tag + 4]
    is_short = first.length < 4 + first.side + 16
    if is_short or bytes(name) not in (b"Xing", b"Info"):
        return Mpeg(start, stop, first, None, None, frames)
    flags, count = struct.unpack(">II", data[tag + 4 : tag + 12])
    stated = count if flags & 1 else None
    return Mpeg(start, stop, first, tag, stated, frames - 1)


def next_frame(
    data: bytes, place: int, first: MpegFrame | None
) -> tuple[int, MpegFrame] | None:
    """Find the next whole frame of the same kind, and another after it."""
    limit = min(len(data), place + JUNK)
    is_there = True  # where it is expected
    while place + 4 <= limit:
        if data[place : place + 3] == b"ID3":
            place = after_tags(data, place)
            limit, is_there = min(len(data), place + JUNK), False
            continue
        frame = frame_at(data, place, first)
        if frame and is_there and first:
            return place, frame
        if frame:
            after = place + frame.length
            if after == len(data) or frame_at(data, after, frame):
                return place, frame
        is_there = False
        place = data.find(b"\xff", place + 1)
        if place < 0:
            return None
    return None


def frame_at(
    data: bytes, place: int, first: MpegFrame | None
) -> MpegFrame | None:
    """Read the frame at a byte, if it is whole and of the same kind."""
    word = int.from_bytes(data[place : place + 4], "big")
    if first and (word ^ first.word) & SAME_BITS:
        return None
    frame = mpeg_frame(word)
    return frame if frame and place + frame.length <= len(data) else None


def with_count(file: BinaryIO, mpeg: Mpeg) -> Spliced:
    """Give an MP3 file whose tag counts its frames, with or without one."""
    size = mpeg.stop - mpeg.start
    if mpeg.tag is not None and mpeg.stated is not None:
        file.seek(mpeg.start)
        head = bytearray(file.read(mpeg.first.length))
        place = mpeg.tag - mpeg.start
        struct.pack_into(">I", head, place + 8, mpeg.frames)
        flags, is_cut = head[place + 7], mpeg.frames < mpeg.stated
        if flags & 2:
            stated = struct.unpack_from(">I", head, place + 12)[0]
            is_cut = is_cut and stated > size
            struct.pack_into(">I", head, place + 12, size)
        ended = place + 8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4)
        ended += (flags & 8) // 2 + LAME_DELAYS
        if is_cut and ended + 1 < len(head):
            head[ended] &= 0xF0  # no padding: where it was is cut off
            head[ended + 1] = 0
        start = mpeg.start + len(head)
        return Spliced(bytes(head), file, start, mpeg.stop)
    word = mpeg.first.word
    rates = [mpeg_frame(word & ~(15 << 12) | k << 12) for k in range(1, 15)]
    frame = next(x for x in rates if x.length >= 4 + x.side + 16)
    head = bytearray(frame.length)
    struct.pack_into(">I", head, 0, frame.word | 1 << 16)  # without a checksum
    tag = struct.pack(">4sIII", b"Xing", 3, mpeg.frames, size + len(head))
    head[4 + frame.side : 20 + frame.side] = tag
    return Spliced(bytes(head), file, mpeg.start, mpeg.stop)
