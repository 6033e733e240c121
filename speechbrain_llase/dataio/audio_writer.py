"""Checked batches in, whole files out: no file is left half written."""

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import soundfile
import torch

from speechbrain_llase.dataio.audio_formats import subtype_of
from speechbrain_llase.dataio.films import (
    CONTAINERS,
    add_picture,
    write_track,
)
from speechbrain_llase.dataio.sample_buffer import SampleSpool
from speechbrain_llase.dataio.whole_files import whole_file
from speechbrain_llase.processing.framing import num_rows
from speechbrain_llase.processing.signal_processing import MATCH_BLOCK

if TYPE_CHECKING:
    from speechbrain_llase.dataio.audio_reader import Taken

LARGEST = 5e17  # of a sample; full scale is 1
NOT_SAMPLES = "NaN or infinite, or absurdly large (over 5e17; full scale is 1)"


def split_batch(
    noisy: torch.Tensor, lengths: torch.Tensor | None
) -> list[torch.Tensor]:
    """Check a batch (B, T) and cut its items to their own lengths."""
    if not isinstance(noisy, torch.Tensor):
        raise TypeError(
            f"noisy is a {type(noisy).__name__}; pass a torch.Tensor of "
            "(batch, time), such as torch.from_numpy(wav)[None]."
        )
    if noisy.dim() != 2:
        raise ValueError(
            f"noisy has the shape {tuple(noisy.shape)}; allowed is (batch, "
            "time), mono. Average channels first, or add a batch axis."
        )
    if not noisy.is_floating_point():
        raise TypeError(
            f"noisy is {noisy.dtype}; pass floating point samples, integers "
            "divided by their full scale (32768 for 16 bits)."
        )
    bad = [k for k, item in enumerate(noisy) if not is_finite(item)]
    if bad:
        raise ValueError(
            f"Items {bad} hold samples that are {NOT_SAMPLES}; leave them out or "
            "repair them."
        )
    if lengths is None:
        return list(noisy)
    if isinstance(lengths, torch.Tensor):
        lengths = lengths.cpu()  # not every device has float64
    lengths = torch.as_tensor(lengths, dtype=torch.float64)
    if lengths.shape != noisy.shape[:1]:
        raise ValueError(
            f"lengths has the shape {tuple(lengths.shape)} for a batch of "
            f"{noisy.shape[0]}; pass one relative length for each item."
        )
    if not ((lengths > 0) & (lengths <= 1)).all():
        raise ValueError(
            f"lengths={lengths.tolist()} must lie in (0, 1]: they are "
            "relative to the longest item, not samples."
        )
    samples = (lengths * noisy.shape[1]).round().long().tolist()
    return [item[:n] for item, n in zip(noisy, samples, strict=True)]


def is_finite(wav: torch.Tensor) -> bool:
    """Tell whether no sample is NaN, infinite or absurdly large.

    Of larger samples, single precision cannot hold the squares any more.
    """
    if not wav.numel():
        return True
    low, high = wav.aminmax()  # NaN where one is, in one pass
    return bool(low >= -LARGEST) and bool(high <= LARGEST)


def is_audible(wav: torch.Tensor) -> bool:
    """Tell whether (T,) is long enough and not silent."""
    return num_rows(len(wav)) > 0 and bool(wav.any())


def check_writable(path: Path) -> None:
    """Refuse an output that cannot be written, before any work."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; pass a file name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {path.parent} to write {path.name} into."
        )
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"The folder {path.parent} cannot be written.")


def write_whole(
    path: str | Path,
    blocks: Iterable[torch.Tensor],
    sample_rate: int,
    film: "tuple[str, Taken] | None" = None,
    subtype: str | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Write blocks (T,) beside the file's place, then move it there at once.

    The name's ending says the format, one of `audio_formats.FORMATS`: AAC in
    .m4a, .mp4 and .mkv, the last two beside the picture of `film` if that has
    one. The `subtype` is one of its SUBTYPES, None for 16 bits. Nothing appears
    before all blocks are on the disk.
    """
    with whole_file(path) as partial:
        write_blocks(partial, blocks, sample_rate, subtype, tags)
        if film:
            add_picture(partial, Path(film[0]), film[1].track)


def write_blocks(
    path: Path,
    blocks: Iterable[torch.Tensor],
    sample_rate: int,
    subtype: str | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Write a file of (T,) each, in [-1, 1]; return once it is on the disk.

    The path's ending says the format; a ValueError, if it is unknown. `tags`
    are those of `read_tags`, for formats that have them. An OSError or
    RuntimeError gives the system's reason, such as a full disk, or none that
    is known; the file may exist then, incomplete.
    """
    ending, tags = path.suffix.lower()[1:], tags or {}
    channels, blocks = count_channels(blocks)
    if path.suffix.lower() in CONTAINERS:
        write_track(path, blocks, sample_rate, channels, tags)
        with path.open("rb+") as raw:
            os.fsync(raw.fileno())
        return
    with path.open("wb", buffering=0) as raw:
        file = NotedFile(raw, path.name)
        try:
            kind = channels, subtype_of(ending, subtype)
            sound = open_for_writing(file, sample_rate, *kind)
            write_sound(sound, blocks, tags)
        except (soundfile.LibsndfileError, AssertionError) as err:
            # soundfile only finds that it is short
            raise file.error or incomplete(path) from err
        if file.error:
            raise file.error
        os.fsync(raw.fileno())
    if ending == "wav" and path.stat().st_size > 44:
        with open(path, "rb") as raw:
            head = raw.read(44)
            # the length, written at closing
            if head[36:40] == b"data" and not any(head[40:]):
                raise incomplete(path)


def count_channels(
    blocks: Iterable[torch.Tensor],
) -> tuple[int, Iterator[torch.Tensor]]:
    """Count the channels of blocks (T,) or (T, C), and give these blocks."""
    blocks = iter(blocks)
    first = next(blocks, torch.zeros(0))
    channels = first.shape[1] if first.dim() > 1 else 1
    return channels, chain([first], blocks)


def write_voices(
    paths: Sequence[Path],
    blocks: Iterable[torch.Tensor],
    sample_rate: int,
    subtype: str | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    """Write blocks (T,) to one file, or (T, 2) to one for each speaker.

    As `write_blocks` does.
    """
    if len(paths) == 1:
        return write_blocks(paths[0], blocks, sample_rate, subtype, tags)
    with SampleSpool() as second:

        def first() -> Iterator[torch.Tensor]:
            for block in blocks:
                second.write(block[:, 1])
                yield block[:, 0]

        how = sample_rate, subtype, tags
        write_blocks(paths[0], first(), *how)
        write_blocks(paths[1], second.blocks(MATCH_BLOCK), *how)


def incomplete(path: Path) -> RuntimeError:
    """Say that a file lacks samples, for a reason that is not known."""
    return RuntimeError(f"{path.name} was not written to its end")


def write_sound(
    sound: soundfile.SoundFile,
    blocks: Iterable[torch.Tensor],
    tags: dict[str, str],
) -> None:
    """Write tags and blocks (T,) or (T, C), and close the file."""
    try:
        for key, text in tags.items():
            setattr(sound, key, text)
        for block in blocks:
            samples = block.cpu().numpy()
            with signals_later():
                sound.write(samples)
    finally:
        with signals_later():
            sound.close()


@contextmanager
def signals_later() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end of the block.

    libsndfile writes through Python functions, which cannot hand on what a
    signal's handler raises: it would be lost, and the samples with it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread alone
        return
    caught, handlers = [], {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                handlers[number] = handler
                signal.signal(number, lambda number, _: caught.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in caught:
            signal.raise_signal(number)


class NotedFile:
    """A file that libsndfile writes through; it keeps the system's errors.

    libsndfile itself would only say that there was one, and would wait for the
    disk once more. `file` is open for writing, not buffered; the ending of
    `name` says the format.
    """

    def __init__(self, file: BinaryIO, name: str):
        self.file, self.name = file, name
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        """Write all of the data, or note why not."""
        left = memoryview(data)
        try:
            while len(left) and not self.error:
                left = left[self.file.write(left) :]
        except BaseException as err:  # nobody above could hand it on
            self.error = err
        return len(data) - len(left)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, or note why not."""
        try:
            return self.file.seek(offset, whence)
        except BaseException as err:
            self.error = self.error or err
            return -1

    def tell(self) -> int:
        """Tell the place, or note why not."""
        return self.seek(0, os.SEEK_CUR)


def open_for_writing(
    file: NotedFile, sample_rate: int, channels: int, subtype: str | None
) -> soundfile.SoundFile:
    """Begin a file; a ValueError for an unknown ending."""
    try:
        with signals_later():
            return soundfile.SoundFile(
                file, "w", sample_rate, channels, subtype
            )
    except (TypeError, ValueError, soundfile.LibsndfileError) as err:
        if file.error:
            raise file.error from err
        raise ValueError(
            f"{Path(file.name).suffix or 'no ending'} is not a format that can be "
            "written; name the output .wav, .flac, .mp3, .ogg, .m4a, .mp4 or "
            ".mkv."
        ) from err
