"""What stands beside a manifest: `manifest.run.json`."""

import glob
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from speechbrain_llase.dataio.whole_files import whole_file


@dataclass
class RunState:
    """What a manifest is made with, and how far the run is."""

    overwrites: bool = False  # outputs without a line are made again
    clears: bool = False  # its lines are void, and about to be removed
    finished: bool | None = None  # None: an older version wrote it
    planned: int | None = None  # outputs
    plan: str = ""  # digest of their names
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    runs: dict[str, Any] = field(default_factory=dict)  # by fingerprint
    output: str | None = None  # URL of the results; None: a folder
    copies: int = 0  # of the manifest, that were made beside the results

    def as_json(self) -> str:
        """Give what is to be written."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def write(self, path: Path) -> None:
        """Write it beside its manifest; see `state_path`."""
        write_whole_text(path, [self.as_json()])

    @property
    def is_unfinished(self) -> bool:
        """Tell whether a run has begun and not come to its end."""
        return self.finished is False or self.overwrites or self.clears


def state_path(manifest: Path) -> Path:
    """Name the file beside a manifest."""
    return manifest.with_suffix(".run.json")


def read_state(path: Path, shown: str | None = None) -> RunState:
    """Read what stands beside a manifest; a new state if there is nothing.

    Keys of later versions are left out. ValueError, which calls the place
    `shown`: it is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found["runs"], dict):
            names = {field.name for field in fields(RunState)}
            return RunState(**{k: x for k, x in found.items() if k in names})
    except FileNotFoundError:
        return RunState()
    except (ValueError, TypeError, KeyError):
        pass
    raise ValueError(
        f"{shown or path} does not describe a run. Remove it, or name another "
        "--manifest or --output."
    )


def write_whole_text(path: Path, lines: Iterable[str]) -> None:
    """Write a file that appears whole, and is on the disk then."""
    with whole_file(path) as partial:
        with open(partial, "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())


def remove_partials(path: Path) -> None:
    """Remove what killed processes left beside a file of `whole_file`."""
    names = f".{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}"
    for old in path.parent.glob(names):
        old.unlink(missing_ok=True)
