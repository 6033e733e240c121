"""Sound that libsndfile reads, to its last sample whatever its header states."""

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from speechbrain_llase.dataio import media_file
from speechbrain_llase.dataio.audio_writer import signals_later
from speechbrain_llase.dataio.chunk_sizes import (
    SampleData,
    find_samples,
    with_size,
)
from speechbrain_llase.dataio.file_views import Spliced, count_links, size_of
from speechbrain_llase.dataio.flac_frames import find_flac, with_total
from speechbrain_llase.dataio.mpeg_frames import (
    find_mpeg,
    may_be_mpeg,
    with_count,
)

BY_SAMPLE = {  # bytes of a sample
    "PCM_U8": 1,
    "PCM_S8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
MPEG_DELAY_S = 0.1  # seconds that MP3's own delay may differ by


class PlainFile:
    """A file that libsndfile reads; `name` is what messages call it."""

    def __init__(self, file: BinaryIO, name: str | Path | BinaryIO):
        self.file, self.name = file, name
        self.remarks: list[str] = []
        self.slack_s = 0.0
        self.done = 0  # frames that were read
        self.later: media_file.MediaFile | None = (
            None  # who reads on after damage
        )
        self.mpeg = find_mpeg(file) if may_be_mpeg(file) else None
        is_wrong = self.mpeg and self.mpeg.stated not in (
            None,
            self.mpeg.frames,
        )
        if is_wrong:
            self.sound = open_by_libsndfile(with_count(file, self.mpeg))
        else:
            self.sound = open_or_mend(file, name)
        self.rate, self.channels = self.sound.samplerate, self.sound.channels
        self.subtype = self.sound.subtype
        stated = self.mend()
        self.stated = None if stated is None else stated / self.rate

    @property
    def links(self) -> int:
        """Streams one after the other, of which libsndfile reads one."""
        return count_links(self.file) if self.sound.format == "OGG" else 1

    def mend(self) -> int | None:
        """See that all samples are read; give how many the header counts."""
        kind, counted = self.sound.format, self.sound.frames
        if kind == "MP3":
            return self.mend_mpeg(counted)
        if kind == "FLAC":
            return self.mend_flac(counted)
        data = find_samples(self.file)
        if data is None or data.is_right:
            return counted
        return self.mend_samples(data)

    def reopen(self, view: BinaryIO, **kwargs) -> None:
        """Read another view of the same file."""
        self.sound.close()
        self.sound = open_by_libsndfile(view, **kwargs)

    def mend_samples(self, data: SampleData) -> int | None:
        """Take what a container holds for what it says to hold."""
        if data.stated is None:
            self.remarks.append(
                "its header does not say how long it is; read to the end"
            )
        if self.subtype not in BY_SAMPLE:
            if (data.stated or 0) < data.held:
                self.reopen(with_size(self.file, data))
            return data.stated and self.sound.frames * data.stated // max(
                1, data.held
            )
        endian, stop = self.sound.endian, data.start + data.held
        if endian not in ("LITTLE", "BIG"):
            endian = "LITTLE" if data.little else "BIG"
        self.reopen(
            Spliced(b"", self.file, data.start, stop),
            samplerate=self.rate,
            channels=self.channels,
            format="RAW",
            subtype=self.subtype,
            endian=endian,
        )
        frame = BY_SAMPLE[self.subtype] * self.channels
        return None if data.stated is None else data.stated // frame

    def mend_mpeg(self, counted: int) -> int | None:
        """Let the first frame count those that there are, if none does."""
        if self.mpeg is None:
            return None
        self.slack_s = MPEG_DELAY_S
        frame = self.mpeg.first.samples
        if self.mpeg.stated is not None:
            return self.mpeg.stated * frame
        if abs(self.mpeg.samples - counted) > 4 * frame:
            self.reopen(with_count(self.file, self.mpeg))
        return None

    def mend_flac(self, counted: int) -> int | None:
        """Let the header count the samples that there are."""
        flac = find_flac(self.file)
        if flac is None:
            return counted
        if flac.stated != flac.held:
            self.reopen(with_total(self.file, flac))
        return flac.stated or None

    def read(self, frames: int) -> np.ndarray:
        """Read on: (T, C), fewer than `frames` at the end."""
        if self.later:
            return self.later.read(frames)
        block = np.empty((frames, self.channels), np.float32)
        try:
            with signals_later():
                count = self.sound.buffer_read_into(block, "float32")
        except soundfile.LibsndfileError as err:
            return self.read_after_damage(frames, one_reason(err))
        self.done += count
        return block[:count]

    def read_after_damage(self, frames: int, reason: str) -> np.ndarray:
        """Let FFmpeg read on, which gets over damage."""
        at = f"damaged, {self.done / self.rate:.1f} s in or later ({reason})"
        if not media_file.has_av():
            raise ValueError(
                f"{self.name} is {at}. {media_file.FORMATS_EXTRA} gets what reads on "
                "behind the damage; or fetch or save the file anew."
            )
        self.remarks.append(f"{at}; what can be read of it is used")
        self.later = media_file.MediaFile(self.file, self.name)
        left = self.done
        while left and len(block := self.later.read(min(left, frames))):
            left -= len(block)
        return self.later.read(frames)

    def close(self) -> None:
        """Let go of the file."""
        self.sound.close()
        if self.later:
            self.later.close()


def open_or_mend(
    file: BinaryIO, name: str | Path | BinaryIO
) -> soundfile.SoundFile:
    """Open a file, by its name where it has one, whatever size it states."""
    plain = Spliced(b"", file, 0, size_of(file)) if name is file else name
    try:
        return open_by_libsndfile(plain)
    except soundfile.LibsndfileError:
        data = find_samples(file)
        if data is None or data.is_right:
            raise
        return open_by_libsndfile(with_size(file, data))


def open_by_libsndfile(
    source: str | Path | BinaryIO, **kwargs
) -> soundfile.SoundFile:
    """Open a file; what has no header is refused, unless `kwargs` say it."""
    if not hasattr(source, "read") and os.name != "nt":  # names of any bytes
        source = os.fsencode(source)
    try:
        with signals_later():
            sound = soundfile.SoundFile(source, **kwargs)
    except TypeError as err:  # .raw, of which nothing is known
        raise soundfile.LibsndfileError(1) from err
    if sound.format == "RAW" and not kwargs:  # guessed by its name
        sound.close()
        raise soundfile.LibsndfileError(1)
    return sound


def one_reason(err: Exception) -> str:
    """Say in libsndfile's words what is wrong, without names."""
    reason = str(err).rpartition(": ")[2].strip(" .")
    return reason or "not what its format asks for"
