"""What comes in and what goes out: batches that are checked, whole files.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
from collections.abc import Iterable
from pathlib import Path

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
    FLAC, OGG); nothing appears before all blocks are written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with open_for_writing(partial, sample_rate) as file:
            for block in blocks:
                file.write(block.cpu().numpy())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def open_for_writing(path: Path, sample_rate: int) -> soundfile.SoundFile:
    """Open a new mono file; a ValueError for an unknown ending."""
    try:
        return soundfile.SoundFile(str(path), "w", sample_rate, 1)
    except (TypeError, ValueError, soundfile.LibsndfileError) as err:
        raise ValueError(
            f"{path.suffix or 'no ending'} is not a format that can be "
            "written; name the output .wav, .flac or .ogg."
        ) from err
