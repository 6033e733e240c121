"""The copy of a manifest beside results that lie behind a URL.

The manifest lies on the machine that drives the run. It is copied to the
results from time to time, so that another machine can go on. Copies are
counted in `manifest.run.json`: the one with the higher number is the newer
one, whatever clocks and sizes say.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from speechbrain_llase.bulk.manifest import Manifest
from speechbrain_llase.bulk.records import RunState, read_state, state_path
from speechbrain_llase.bulk.storage import (
    exists,
    local_copy,
    new_file,
    write_bytes,
)
from speechbrain_llase.dataio.urls import join, show

COPY_EVERY_S = 60.0  # between two copies


class ManifestCopy:
    """A manifest here, and its copy, called `name`, beside the results.

    Nothing is copied to an output that is a path. `say` is told, in one line,
    when a copy cannot be made.
    """

    def __init__(
        self,
        manifest: Manifest,
        output: str,
        name: str,
        say: Callable[[str], None],
    ):
        self.manifest = manifest
        self.say = say
        self.copied_s = time.monotonic()
        self.place = self.state_place = None
        if manifest.output:
            self.place = join(output, name)
            self.state_place = join(output, state_path(Path(name)).name)

    def fetch(self) -> None:
        """Take over the copy that is there, if it is newer."""
        if not self.place:
            return
        here, state = self.manifest.read_state(), self.read_state()
        if self.manifest.path.exists() and state.copies <= here.copies:
            return
        if not exists(self.place):
            return
        with (
            local_copy(self.place) as source,
            new_file(str(self.manifest.path)) as copy,
        ):
            shutil.copyfile(source, copy)
        if state.runs:  # it lies beside the results, wherever they were moved
            state.output = self.manifest.output
            state.write(self.manifest.state_path)

    def read_state(self) -> RunState:
        """Read what stands beside the copy."""
        if not exists(self.state_place):
            return RunState()
        with local_copy(self.state_place) as path:
            return read_state(path, show(self.state_place))

    def copy(self) -> None:
        """Copy the manifest; OSError if the place cannot be written."""
        if not self.place:
            return
        self.manifest.state.copies += 1
        state = self.manifest.state.as_json()
        write_bytes(self.state_place, state.encode())
        with new_file(self.place) as copy:
            shutil.copyfile(self.manifest.path, copy)
        self.manifest.write_state()
        self.copied_s = time.monotonic()

    def copy_now_and_then(self, is_last: bool = False) -> None:
        """Copy the manifest if the last copy is old."""
        if not is_last and time.monotonic() - self.copied_s < COPY_EVERY_S:
            return
        try:
            self.copy()
        except OSError as err:
            self.copied_s = time.monotonic()
            self.say(f"the manifest is not copied: {err}")
