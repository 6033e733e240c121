"""A run at work: an engine's records become lines of the manifest."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from speechbrain_llase.bulk.manifest import Manifest
from speechbrain_llase.bulk.manifest_copy import ManifestCopy
from speechbrain_llase.bulk.open_file import CannotGoOn
from speechbrain_llase.bulk.output_folder import OutputFolder
from speechbrain_llase.bulk.plan import Unit
from speechbrain_llase.bulk.records import Record

SYNC_S = 1.0  # between two waits for lines to be on the disk


def write_lines(
    ended: Iterable[tuple[Unit, list[Record]]],
    count: int,
    manifest: Manifest,
    copy: ManifestCopy,
    folder: OutputFolder,
) -> Iterator[tuple[Unit, list[Record]]]:
    """Write the lines of each unit as it ends, and pass both on.

    `ended` is what `enhance` of an engine yields; once `count` units have
    ended, the run is finished. CannotGoOn: the folder is lost, or the manifest
    cannot be written any more.
    """
    synced_s = time.monotonic()
    try:
        for unit, records in ended:
            if not records[-1].error:
                folder.check_result(unit)
            with lines_are_kept(manifest, folder):
                manifest.append(*records)
                if time.monotonic() - synced_s > SYNC_S:
                    manifest.sync()
                    synced_s = time.monotonic()
            copy.copy_now_and_then()
            count -= 1
            yield unit, records
        with lines_are_kept(manifest, folder):
            manifest.sync()
            if not count:
                manifest.finish()
    finally:
        copy.copy_now_and_then(is_last=True)


@contextmanager
def lines_are_kept(manifest: Manifest, folder: OutputFolder) -> Iterator[None]:
    """End the run where its manifest cannot be written."""
    try:
        yield
    except OSError as err:
        folder.check()
        raise CannotGoOn(
            f"{manifest.path} cannot be written ({err.strerror}). The finished "
            "files are complete: make room or mend the disk, and give the "
            "same command again."
        ) from err
