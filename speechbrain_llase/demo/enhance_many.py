"""Some files, one after the other. No Gradio here."""

import errno
import os
import secrets
import shutil
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speechbrain.utils.logger import get_logger

from speechbrain_llase.demo.enhance_one import (
    EnhancedFile,
    Shared,
    ShowProgress,
    enhance_upload,
)
from speechbrain_llase.demo.limits import (
    VisitorSettings,
    check_count,
    check_upload,
)
from speechbrain_llase.demo.models import Model

logger = get_logger(__name__)
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)  # what fails every file


class VisitorLeft(Exception):
    """The visitor, or the end of the page, ends the work."""


@dataclass(frozen=True)
class EnhancedFiles:
    """All that one visitor asked for at a time."""

    results: tuple[EnhancedFile, ...]
    failures: tuple[str, ...]  # in words, for every file that was left out
    archive: Path | None  # all outputs, where there are several

    def paths(self) -> list[Path]:
        """Every file that was made."""
        made = [self.archive]
        for result in self.results:
            made += [result.before, *result.outputs, *result.pictures.values()]
        return [path for path in made if path]


def enhance_uploads(
    model: Model,
    uploads: Sequence[tuple[str, str]],
    settings: VisitorSettings,
    shared: Shared,
    progress: ShowProgress,
    stop: threading.Event,
) -> EnhancedFiles:
    """Enhance files; a bad one does not end the others, a full disk does.

    `uploads` are paths with the names that their owner gave; `progress` is
    told the share that is done, and words. `stop` ends the work at the next
    window, with VisitorLeft. Raises a ValueError with words for the page if
    none of the files could be enhanced.
    """
    check_count(len(uploads), shared.limits)
    check_choices(model, settings, shared)
    names = distinct_names([name for _, name in uploads])
    paths = [Path(path) for path, _ in uploads]
    kept = [*paths, Path(settings.reference)] if settings.reference else paths
    results, failures = [], []

    def tell(k: int, share: float, words: str) -> None:
        if stop.is_set():
            raise VisitorLeft
        for path in kept:  # Gradio deletes what was not touched for long
            with suppress(FileNotFoundError):
                os.utime(path)
        count = f" ({k + 1} of {len(names)})" if len(names) > 1 else ""
        progress((k + share) / len(names), f"{names[k]}{count}: {words}")

    with results_folder(shared.folder) as folder:
        for k, (path, name) in enumerate(zip(paths, names, strict=True)):
            place = folder / str(k)
            place.mkdir(mode=0o700)
            given = model, path, name, place, settings, shared
            try:
                results.append(enhance_upload(*given, partial(tell, k)))
            except (ValueError, OSError, RuntimeError, MemoryError) as err:
                if disk_is_full(err):  # it will be for the others, too
                    raise
                shutil.rmtree(place, ignore_errors=True)
                failures.append(explain_error(err, name))
        if not results:
            raise ValueError(" ".join(failures))
        archive = zip_outputs(results, folder) if len(results) > 1 else None
    return EnhancedFiles(tuple(results), tuple(failures), archive)


def check_choices(
    model: Model, settings: VisitorSettings, shared: Shared
) -> None:
    """Refuse what a model, or a page, cannot do, before any work."""
    if settings.task not in model.tasks:
        raise ValueError(
            f"{model.name} cannot do task={settings.task!r}; choose one of "
            f"{', '.join(model.tasks)}."
        )
    settings.check()
    if settings.guard and model.guard_off:
        raise ValueError(f"The guard cannot be used. {model.guard_off}")
    if settings.reference:
        name = Path(settings.reference).name
        check_upload(settings.reference, name, shared.limits)


@contextmanager
def results_folder(parent: Path) -> Iterator[Path]:
    """A folder whose name cannot be guessed; gone if the block fails."""
    folder = parent / secrets.token_hex(16)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def distinct_names(names: Sequence[str]) -> list[str]:
    """Tell files of one name apart.

    Example
    -------
    >>> distinct_names(["a.wav", "b.wav", "a.flac", "a.wav"])
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


def zip_outputs(results: Sequence[EnhancedFile], folder: Path) -> Path:
    """Put all outputs into one archive; waves do not get much smaller."""
    archive = folder / "enhanced.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        for path in (x for result in results for x in result.outputs):
            file.write(path, path.name)
    return archive


def disk_is_full(err: Exception) -> bool:
    """Tell whether the disk of the server is full."""
    return isinstance(err, OSError) and err.errno in DISK_IS_FULL


def explain_error(err: Exception, name: str = "") -> str:
    """Say what went wrong (with a file), without paths of the server.

    A ValueError names the file itself. What was not foreseen goes to the
    server's log.
    """
    prefix = f"{name}: " if name else ""
    if isinstance(err, VisitorLeft):
        return "Stopped."
    if isinstance(err, ValueError):
        return str(err)
    if disk_is_full(err):
        return (
            f"{prefix}The server's disk is full. Try a shorter file, or later."
        )
    logger.error("A file could not be enhanced.", exc_info=err)
    if isinstance(err, MemoryError) or "out of memory" in str(err).lower():
        return f"{prefix}There is not enough memory. Choose a shorter window."
    return (
        f"{prefix}It failed for a reason that was not foreseen; the log has it."
    )
