"""Films: an enhanced sound beside the picture, which is copied as it is."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from speechbrain_llase.dataio.media_file import (
    FORMATS_EXTRA,
    has_av,
    open_container,
)
from speechbrain_llase.dataio.whole_files import whole_file

if TYPE_CHECKING:
    import av

FILMS = {".mp4": "mp4", ".mkv": "matroska"}  # that can be written
CONTAINERS = FILMS | {".m4a": "ipod"}  # of AAC, by the names that FFmpeg has
BIT_RATE = 96_000  # of AAC, a channel at 16 kHz
LAYOUTS_BY_COUNT = dict(enumerate("mono stereo 3.0 4.0 5.0 5.1".split(), 1))


def write_track(
    path: Path,
    blocks: Iterable[torch.Tensor],
    sample_rate: int,
    channels: int,
    tags: dict[str, str],
) -> None:
    """Write blocks (T,) or (T, channels) as AAC into a container without a picture.

    A ValueError, if PyAV is missing, or AAC has no such number of channels.
    """
    if not has_av():
        raise ValueError(
            f"{path.suffix} cannot be written: it needs {FORMATS_EXTRA}; or "
            "name the output .wav, .flac or .ogg."
        )
    import av

    if channels not in LAYOUTS_BY_COUNT:
        raise ValueError(f"{path.suffix} cannot hold {channels} channels.")
    layout = LAYOUTS_BY_COUNT[channels]
    kind = CONTAINERS[path.suffix.lower()]
    with av.open(str(path), "w", format=kind) as out:
        out.metadata.update(tags)
        stream = out.add_stream("aac", rate=sample_rate, layout=layout)
        stream.bit_rate = BIT_RATE * channels
        done = 0
        for block in blocks:
            planes = block.detach().cpu().float().reshape(len(block), channels)
            planes = np.ascontiguousarray(planes.numpy().T)
            if not len(block):
                continue
            frame = av.AudioFrame.from_ndarray(planes, "fltp", layout)
            frame.sample_rate, frame.pts = sample_rate, done
            done += len(block)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def add_picture(sound: Path, film: Path, track: int = 1) -> None:
    """Put the picture of a film beside a sound, which is a film then.

    Packets of both are copied. The sound begins where the film's track, counted
    from 1, does. Nothing happens where the ending of `sound` is not one of
    `FILMS`, or `film` has no picture. A ValueError, if the picture is of a
    kind that the container cannot hold.
    """
    if sound.suffix.lower() not in FILMS or not has_av():
        return
    import av

    with ExitStack() as stack:
        ours = opened(sound, stack)
        try:
            theirs = opened(film, stack)
        except ValueError:
            return  # a sound of which FFmpeg knows nothing
        pictures = [x for x in theirs.streams.video if not is_cover(x)]
        if not pictures:
            return
        start = start_s(theirs, track)
        whole = stack.enter_context(whole_file(sound))
        try:
            mux(ours, theirs, whole, start)
        except (av.error.FFmpegError, ValueError) as err:
            if isinstance(err, OSError):  # a full disk, say
                raise
            names = ", ".join(x.codec_context.name for x in pictures)
            raise ValueError(
                f"the picture of {film} ({names}) cannot be put into "
                f"{sound.suffix} ({err}). Name the output .mkv, which holds "
                "every kind, or .wav for the sound alone."
            ) from err


def mux(
    ours: "av.container.InputContainer",
    theirs: "av.container.InputContainer",
    whole: Path,
    start: float,
) -> None:
    """Write a film of one sound, that begins at `start` (s), and a picture."""
    import av

    kind = FILMS[whole.suffix.lower()]
    pictures = [x for x in theirs.streams.video if not is_cover(x)]
    with av.open(str(whole), "w", format=kind) as out:
        out.metadata.update(theirs.metadata)
        voice = ours.streams.audio[0]
        places = {x.index: out.add_stream_from_template(x) for x in pictures}
        place = out.add_stream_from_template(voice)
        packets = merged(
            timed(theirs.demux(*pictures), 0.0),
            timed(ours.demux(voice), start),
        )
        for _, shift, packet in packets:
            delay = round(shift / packet.time_base)
            packet.dts += delay
            packet.pts = None if packet.pts is None else packet.pts + delay
            is_ours = packet.stream is voice
            packet.stream = place if is_ours else places[packet.stream.index]
            out.mux(packet)


def opened(path: Path, stack: ExitStack) -> "av.container.InputContainer":
    """Open a file for reading its packets."""
    return open_container(stack.enter_context(open(path, "rb")), path)


def is_cover(stream: "av.VideoStream") -> bool:
    """Tell a picture that stands for a recording from one that moves."""
    return "attached_pic" in str(stream.disposition).lower()


def start_s(film: "av.container.InputContainer", track: int) -> float:
    """Seconds at which a sound track begins."""
    stream = film.streams.audio[track - 1]
    if stream.start_time is None:
        return 0.0
    return max(0.0, float(stream.start_time * stream.time_base))


def timed(
    packets: Iterator["av.Packet"], shift: float
) -> Iterator[tuple[float, float, "av.Packet"]]:
    """Yield packets with the time of each, seconds, and how far it is moved."""
    for packet in packets:
        if packet.dts is not None:
            yield float(packet.dts * packet.time_base) + shift, shift, packet


def merged(*sources: Iterator[tuple[float, Any, Any]]) -> Iterator[tuple]:
    """Yield from several sources what comes first."""
    waiting = [(next(source, None), source) for source in sources]
    while waiting := [pair for pair in waiting if pair[0] is not None]:
        first = min(waiting, key=lambda pair: pair[0][0])
        yield first[0]
        waiting.remove(first)
        waiting.append((next(first[1], None), first[1]))
