"""Audio files in folders: which endings count, and what lies below a folder."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from sys import intern

PLAIN_SUFFIXES = frozenset(  # sound that libsndfile reads
    ".wav .wave .rf64 .w64 .flac .mp3 .ogg .oga .opus .aif .aiff .aifc .au"
    " .snd .sph .caf".split()  # codespell:ignore caf
)
SOUND_SUFFIXES = PLAIN_SUFFIXES | frozenset(  # and sound that FFmpeg reads
    ".aac .ac3 .adts .amr .ape .awb .dff .dsf .dts .eac3 .gsm .m4a .m4b .m4r"
    " .mka .mp1 .mp2 .mpa .mpc .oma .qcp .ra .spx .tak .tta .voc .weba .wma"
    " .wv".split()
)
AUDIO_SUFFIXES = SOUND_SUFFIXES | frozenset(  # and films, which have sound
    ".3g2 .3gp .asf .avi .f4v .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts"
    " .mxf .ogv .rm .ts .vob .webm .wmv".split()
)
KINDS_SHOWN = 8  # endings of what is not audio


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
    `path` is this folder or lies in it. `left_out` gets the ending of each
    file that is not audio.
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
        else:
            others.append(intern(PurePosixPath(name).suffix or "no ending"))
    if left_out is not None:
        left_out.extend(others)
    if is_empty:
        remark = tell_left_out(others)
        raise ValueError(
            f"The folder {folder} holds no audio. Files with these endings are "
            f"looked for: {' '.join(endings)}"
            + (f". {remark}." if remark else "")
        )


def tell_left_out(endings: Sequence[str]) -> str:
    """Say how many files are not audio; nothing if there are none."""
    if not endings:
        return ""
    kinds = Counter(endings)
    most = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    counts = [f"{kind}: {n}" for kind, n in most[:KINDS_SHOWN]]
    if len(kinds) > KINDS_SHOWN:
        counts.append("...")
    return f"{len(endings)} files are not audio ({', '.join(counts)})"


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
