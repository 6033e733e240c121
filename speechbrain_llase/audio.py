"""What comes in and what goes out: batches that are checked, whole files.

Authors
 * The speechbrain_llase contributors 2026
"""

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import soundfile
import torch

from speechbrain_llase.frontend import num_rows


def split_batch(
    noisy: torch.Tensor, lengths: torch.Tensor | None
) -> list[torch.Tensor]:
    """Check a batch (B, T) and cut its items to their own lengths."""
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
    bad = [k for k, item in enumerate(noisy) if not item.isfinite().all()]
    if bad:
        raise ValueError(
            f"Items {bad} hold NaN or infinite samples; leave them out or "
            "repair them."
        )
    if lengths is None:
        return list(noisy)
    lengths = torch.as_tensor(lengths, dtype=torch.float64)
    if lengths.shape != noisy.shape[:1]:
        raise ValueError(
            f"lengths has the shape {tuple(lengths.shape)} for a batch of "
            f"{noisy.shape[0]}; pass one relative length an item."
        )
    if not ((lengths > 0) & (lengths <= 1)).all():
        raise ValueError(
            f"lengths={lengths.tolist()} must lie in (0, 1]: they are "
            "relative to the longest item, not samples."
        )
    samples = (lengths * noisy.shape[1]).round().long().tolist()
    return [item[:n] for item, n in zip(noisy, samples, strict=True)]


def is_heard(wav: torch.Tensor) -> bool:
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
    path: str | Path, blocks: Iterable[torch.Tensor], sample_rate: int
) -> None:
    """Write blocks (T,) beside the file's place, then move it there at once.

    The samples are 16-bit PCM in the format that the name asks for (WAV,
    FLAC, OGG); nothing appears before all blocks are on the disk.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        write_blocks(partial, blocks, sample_rate)
        move_whole(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_blocks(
    path: Path, blocks: Iterable[torch.Tensor], sample_rate: int
) -> None:
    """Write a new file, and return once it is on the disk.

    Arguments
    ---------
    path : Path
        Its ending says the format.
    blocks : iterable of torch.Tensor
        (T,) each, in [-1, 1].
    sample_rate : int
        In Hz.

    Raises
    ------
    OSError
        The system's reason, such as a full disk. The file may be there, and
        incomplete.
    ValueError
        The ending is unknown.
    """
    with path.open("wb", buffering=0) as raw:
        file = NotedFile(raw, path.name)
        try:
            with open_for_writing(file, sample_rate) as sound:
                for block in blocks:
                    sound.write(block.cpu().numpy())
        except (soundfile.LibsndfileError, AssertionError) as err:
            if file.error:  # what soundfile finds is only that it is short
                raise file.error from err
            raise
        if file.error:
            raise file.error
        os.fsync(raw.fileno())


class NotedFile:
    """A file that libsndfile writes through; it keeps the system's errors.

    libsndfile itself would only say that there was one, and would wait for
    the disk once more.

    Arguments
    ---------
    file : binary file
        Open for writing, not buffered.
    name : str
        Its ending says the format.
    """

    def __init__(self, file: BinaryIO, name: str):
        self.file, self.name = file, name
        self.seek, self.tell = file.seek, file.tell
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write all of the data, or note why not."""
        left = memoryview(data)
        try:
            while len(left) and not self.error:
                left = left[self.file.write(left) :]
        except OSError as err:
            self.error = err
        return len(data) - len(left)


def move_whole(partial: Path, path: Path) -> None:
    """Move a complete file to its place, and see that it stays there."""
    os.replace(partial, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where systems can do that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def open_for_writing(file: NotedFile, sample_rate: int) -> soundfile.SoundFile:
    """Begin a new mono file; a ValueError for an unknown ending."""
    try:
        return soundfile.SoundFile(file, "w", sample_rate, 1)
    except (TypeError, ValueError, soundfile.LibsndfileError) as err:
        if file.error:
            raise file.error from err
        raise ValueError(
            f"{Path(file.name).suffix or 'no ending'} is not a format that can be "
            "written; name the output .wav, .flac or .ogg."
        ) from err
