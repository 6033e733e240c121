"""One press of the button: some files, one after the other. No Gradio here.

Authors
 * The speechbrain_llase contributors 2026
"""

import errno
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain.utils.logger import get_logger

from speechbrain_llase.demo.detailed_model import Settings
from speechbrain_llase.demo.enhance_one import Result, Tools, enhance_upload
from speechbrain_llase.demo.limits import check_count
from speechbrain_llase.demo.models import Model
from speechbrain_llase.demo.private_folder import PrivateFolder

logger = get_logger(__name__)
Progress = Callable[[float, str], None]
FULL = (errno.ENOSPC, errno.EDQUOT)  # what fails every file


class Stopped(Exception):
    """The visitor, or the end of the page, ends the work."""


@dataclass(frozen=True)
class Batch:
    """What came of one press."""

    results: tuple[Result, ...]
    failures: tuple[str, ...]  # in words, one a file
    archive: Path | None  # all outputs, where there are several


def enhance_all(
    model: Model,
    uploads: Sequence[tuple[str, str]],
    settings: Settings,
    private: PrivateFolder,
    tools: Tools,
    progress: Progress,
    stop: threading.Event,
) -> Batch:
    """Enhance files; a bad one does not end the others, a full disk does.

    Arguments
    ---------
    model : Model
        What enhances.
    uploads : sequence of (str, str)
        Path of each file, and its name.
    settings : Settings
        What the visitor chose.
    private : PrivateFolder
        Where everything lies.
    tools : Tools
        Limits and scorer.
    progress : callable
        Called with the share that is done and with words.
    stop : threading.Event
        Ends the work at the next window.

    Returns
    -------
    batch : Batch

    Raises
    ------
    ValueError
        If none of the files could be enhanced, with words for the page.
    OSError
        The disk is full.
    Stopped
        If `stop` was set.
    """
    check_count(len(uploads), tools.limits)
    settings.check()
    if settings.guard and model.guard_off:
        raise ValueError(f"The guard cannot be used. {model.guard_off}")
    names = distinct([name for _, name in uploads])
    results, failures = [], []
    with private.job() as (work, folder):
        held = [
            hold(path, work / str(k)) for k, (path, _) in enumerate(uploads)
        ]
        for k, (path, name) in enumerate(zip(held, names, strict=True)):
            place = folder / str(k)
            place.mkdir(mode=0o700)
            tell = teller(progress, stop, k, names)
            try:
                results.append(
                    enhance_upload(
                        model, path, name, place, settings, tools, tell
                    )
                )
            except (ValueError, OSError, RuntimeError, MemoryError) as err:
                if is_full(err):  # it will be for the others, too
                    raise
                shutil.rmtree(place, ignore_errors=True)
                failures.append(about(name, err))
        if not results:
            raise ValueError(" ".join(failures))
        archive = pack(results, folder) if len(results) > 1 else None
        return Batch(tuple(results), tuple(failures), archive)


def teller(
    progress: Progress, stop: threading.Event, k: int, names: Sequence[str]
) -> Progress:
    """Progress of file k as progress of all; ends the work if told to."""

    def tell(share: float, words: str) -> None:
        if stop.is_set():
            raise Stopped
        count = f" ({k + 1} of {len(names)})" if len(names) > 1 else ""
        progress((k + share) / len(names), f"{names[k]}{count}: {words}")

    return tell


def hold(path: str, link: Path) -> Path:
    """Link an upload, so that it stays while it is worked on.

    It loses its name, which belongs in no log. A file that is gone stays
    gone: `check_upload` says so.
    """
    link = link.with_suffix(Path(path).suffix)
    try:
        os.link(path, link)
    except FileNotFoundError:
        pass
    except OSError:  # a file system without links
        shutil.copyfile(path, link)
    return link


def distinct(names: Sequence[str]) -> list[str]:
    """Tell files of one name apart.

    Example
    -------
    >>> distinct(["a.wav", "b.wav", "a.flac", "a.wav"])
    ['a.wav', 'b.wav', 'a-2.flac', 'a-3.wav']
    """
    taken, found = set(), []
    for name in names:
        stem, suffix = os.path.splitext(os.path.basename(name))
        stem = stem or "recording"
        new, count = stem, 1
        while new in taken:
            count += 1
            new = f"{stem}-{count}"
        taken.add(new)
        found.append(new + suffix)
    return found


def pack(results: Sequence[Result], folder: Path) -> Path:
    """Put all outputs into one archive; waves do not get much smaller."""
    archive = folder / "enhanced.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for result in results:
            file.write(result.after, result.after.name)
    return archive


def about(name: str, err: Exception) -> str:
    """Say what is wrong with one file; a ValueError names it itself."""
    words = in_words(err)
    return words if isinstance(err, ValueError) else f"{name}: {words}"


def is_full(err: Exception) -> bool:
    """Tell whether the disk of the server is full."""
    return isinstance(err, OSError) and err.errno in FULL


def in_words(err: Exception) -> str:
    """Say what went wrong, without paths of the server.

    Arguments
    ---------
    err : Exception
        What ended the work.

    Returns
    -------
    words : str
        For the page. What was not foreseen goes to the server's log.
    """
    if isinstance(err, Stopped):
        return "Stopped."
    if isinstance(err, ValueError):
        return str(err)
    if is_full(err):
        return "The server's disk is full. Try a shorter file, or later."
    logger.error("A press of the button failed.", exc_info=err)
    if isinstance(err, MemoryError) or "out of memory" in str(err).lower():
        return "There is not enough memory. Choose a shorter window."
    return "It failed for a reason that was not foreseen; the log has it."
