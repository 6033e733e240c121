"""Audio files in folders: which endings count, and what lies below a folder."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

AUDIO_SUFFIXES = frozenset(
    ".wav .wave .rf64 .w64 .flac .mp3 .ogg .oga .opus .aif .aiff .aifc .au"
    " .snd .sph .caf".split()  # codespell:ignore caf
)
UNREADABLE = frozenset(  # sound and films that libsndfile does not read
    ".m4a .m4b .aac .ac3 .wma .amr .ape .mka .mkv .mov .mp4 .webm .wv".split()
)


def find_audio(
    path: Path,
    skipped: Path | None = None,
    left_out: list[str] | None = None,
    more: Iterable[str] = (),
) -> Iterator[tuple[Path, str]]:
    """Yield the audio that a path stands for, with its name below the path.

    A file is taken whatever its suffix, under its own name. A folder is
    searched to the bottom for `AUDIO_SUFFIXES` and `more` endings (in small
    letters, with their dots); hidden files and folders are ignored, links to
    folders are not followed. The folder `skipped` is not searched, unless
    `path` is this folder or lies in it. `left_out` gets what is `UNREADABLE`.
    ValueError: a folder holds no such file or cannot be listed.
    """
    if not path.is_dir():
        yield path, path.name
        return
    yield from keep_audio(
        ((p, p.relative_to(path).as_posix()) for p in walk(path, skipped)),
        str(path),
        left_out,
        more,
    )


def keep_audio(
    found: Iterable[tuple],
    folder: str,
    left_out: list[str] | None = None,
    more: Iterable[str] = (),
) -> Iterator[tuple]:
    """Choose the audio of a listing; see `find_audio`.

    The second item of what is `found` is a file's name relative to the folder.
    """
    endings = (*sorted(AUDIO_SUFFIXES), *more)
    others, is_empty = [], True
    for item in found:
        name = item[1].lower()
        if name.endswith(endings):
            is_empty = False
            yield item
        elif name.endswith(tuple(UNREADABLE)):
            others.append(str(item[0]))
    if left_out is not None:
        left_out.extend(others)
    if is_empty:
        remark = tell_left_out(others)
        raise ValueError(
            f"The folder {folder} holds no audio. Files with these endings are "
            f"looked for: {' '.join(endings)}"
            + (f". {remark}." if remark else "")
        )


def tell_left_out(paths: Sequence[str]) -> str:
    """Say how many files cannot be read; nothing if there are none."""
    if not paths:
        return ""
    kinds = Counter(PurePosixPath(path).suffix.lower() for path in paths)
    counts = (f"{kind}: {n}" for kind, n in sorted(kinds.items()))
    return (
        f"{len(paths)} files are left out, for their formats cannot be read "
        f"({', '.join(counts)}), such as {paths[0]}; convert them to WAV or "
        "FLAC first"
    )


def walk(folder: Path, skipped: Path | None = None) -> Iterator[Path]:
    """Yield the files below a folder, without hidden ones and `skipped`."""
    skipped = skipped and real_path(skipped)
    for root, folders, names in os.walk(folder, onerror=refuse_unlisted):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "."
            and not (skipped and real_path(Path(root, name)) == skipped)
        )
        for name in sorted(names):
            if name[0] != ".":
                yield Path(root, name)


def refuse_unlisted(err: OSError) -> None:
    """Refuse a folder whose content cannot be seen."""
    raise ValueError(
        f"The folder {err.filename} cannot be listed: {err.strerror}."
    ) from err


def real_path(path: Path) -> Path:
    """Follow every link; unlike `Path.resolve`, a loop of links is no error."""
    return Path(os.path.realpath(path))
