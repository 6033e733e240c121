"""Sound that FFmpeg reads, through PyAV: other formats, and films' tracks."""

import importlib.util
import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    import av

FORMATS_EXTRA = 'pip install "speechbrain_llase[formats]"'
# FFmpeg follows what playlists and the like name; so only what holds its
# sound itself is opened.
DEMUXERS = (
    "aa aac aax ac3 act aea aiff amr amrnb amrwb ape apm aptx apc asf au avi "
    "boa bonk caf codec2 dcstr dff dsf dts dtshd eac3 flac flv g722 g723_1 "
    "g726 g726le g729 gsm hca ircam kvag loas matroska mlp mov mp3 mpc mpc8 "
    "mpeg mpegts mtaf mxf nut ogg oma osq paf pvf qcp qoa rm rso sbc shn "
    "sln sol sox spdif svs swf tak truehd tta voc vqf w64 wav wsaud wsd wv "
    "wve xa xwma obu 3gp iamf"
)
STATE_LENGTH = frozenset(
    "aiff ape asf avi caf flac matroska mov tta w64 wav wv".split()
)
SLACK = 0.01  # share of the length that containers may differ by
SLACK_S = 0.2  # and seconds


@cache
def has_av() -> bool:
    """Tell whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


class NamedFile(io.RawIOBase):
    """An open file whose name is its ending alone, for FFmpeg to know it."""

    def __init__(self, file: BinaryIO, ending: str):
        self.file = file
        self.name = "input" + (ending if ending.isascii() else "")

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes."""
        return self.file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Byte that is read next."""
        return self.file.tell()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True


class MediaFile:
    """One sound track of a file; `name` is what messages call it."""

    def __init__(
        self, file: BinaryIO, name: str | Path | BinaryIO, track: int = 1
    ):
        self.name, self.remarks = name, []
        self.damaged = 0  # packets
        file.seek(0)
        self.container, self.stream = open_track(file, name, track)
        count = len(self.container.streams.audio)
        if count > 1:
            self.remarks.append(f"sound track {track} of {count}")
        self.frames = self.decode()
        self.held: list[np.ndarray] = []
        first = next(self.frames, None)
        if first is None:
            self.close()
            raise ValueError(f"{name} holds no sound that can be decoded.")
        self.rate, self.channels = first.sample_rate, first.layout.nb_channels
        self.layout = first.layout
        self.subtype = self.stream.codec_context.name
        self.resampler, self.source = None, None
        self.held = [self.convert(first)]
        self.stated = self.find_stated()
        self.slack_s = SLACK_S + SLACK * (self.stated or 0)

    def find_stated(self) -> float | None:
        """Seconds that the container counts, where it does and not guesses."""
        if self.container.format.name.split(",")[0] not in STATE_LENGTH:
            return None
        if self.stream.duration is not None:
            return float(self.stream.duration * self.stream.time_base)
        if len(self.container.streams) == 1 and self.container.duration:
            return self.container.duration / 1e6
        return None

    def decode(self) -> Iterator["av.AudioFrame"]:
        """Yield what can be decoded; what cannot is counted."""
        from av.error import FFmpegError

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except (FFmpegError, OSError):
                self.damaged += 1
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except (FFmpegError, OSError):
                self.damaged += packet.size > 0

    def convert(self, frame: "av.AudioFrame") -> np.ndarray:
        """Give a frame as float32 (T, C) of the first one's rate and layout."""
        import av

        source = frame.format.name, frame.layout.name, frame.sample_rate
        if self.source != source:
            self.source = source
            self.resampler = av.AudioResampler("flt", self.layout, self.rate)
        frame.pts = None
        parts = [x.to_ndarray() for x in self.resampler.resample(frame)]
        if not parts:
            return np.zeros((0, self.channels), np.float32)
        return np.concatenate(parts, 1).reshape(-1, self.channels)

    def read(self, frames: int) -> np.ndarray:
        """Read on: (T, C), fewer than `frames` at the end."""
        count = sum(map(len, self.held))
        while count < frames and (frame := next(self.frames, None)):
            self.held.append(self.convert(frame))
            count += len(self.held[-1])
        if not self.held:
            return np.zeros((0, self.channels), np.float32)
        whole = np.concatenate(self.held)
        self.held = [whole[frames:]]
        if len(whole) < frames and self.damaged:
            self.remarks.append(
                f"damaged: {self.damaged} packets could not be decoded"
            )
            self.damaged = 0
        return whole[:frames]

    def close(self) -> None:
        """Let go of the file."""
        self.container.close()


def open_track(
    file: BinaryIO, name: str | Path | BinaryIO, track: int
) -> tuple["av.container.InputContainer", "av.AudioStream"]:
    """Open a container and find its N-th sound track, counted from 1."""
    container = open_container(file, name)
    tracks = container.streams.audio
    if len(tracks) >= track:
        return container, tracks[track - 1]
    container.close()
    if not tracks:
        raise ValueError(f"{name} has no sound track.")
    raise ValueError(
        f"{name} has {len(tracks)} sound tracks; track {track} is not there."
    )


def open_container(
    file: BinaryIO, name: str | Path | BinaryIO
) -> "av.container.InputContainer":
    """Open what FFmpeg reads; only the file itself is ever opened."""
    import av

    ending = "" if name is file else PurePath(name).suffix.lower()
    options: dict[str, Any] = {
        "format_whitelist": ",".join(DEMUXERS.split()),
        "protocol_whitelist": "none",
    }
    try:
        return av.open(
            NamedFile(file, ending),
            container_options=options,
            metadata_errors="ignore",
        )
    except (av.error.FFmpegError, OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or err
        raise ValueError(
            f"{name} cannot be read as audio, not by FFmpeg either: {reason}. "
            "Fetch or save it anew."
        ) from err
