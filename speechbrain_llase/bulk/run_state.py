"""What stands beside a manifest: `manifest.run.json`.

Authors
 * The speechbrain_llase contributors 2026
"""

import glob
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from speechbrain_llase.dataio.whole_files import move_whole


@dataclass
class RunState:
    """What a manifest is made with, and how far the run is."""

    overwrites: bool = False  # outputs without a line are made again
    clears: bool = False  # its lines are void, and about to be removed
    finished: bool | None = None  # None: an older version wrote it
    planned: int | None = None  # outputs
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    runs: dict[str, Any] = field(default_factory=dict)  # by fingerprint
    others: dict[str, Any] = field(default_factory=dict)  # kept as they are

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> "RunState":
        """Take over what `read_state` gave."""
        known = {key: x for key, x in found.items() if key in FIELDS}
        others = {key: x for key, x in found.items() if key not in FIELDS}
        return cls(**known, others=others)

    def as_dict(self) -> dict[str, Any]:
        """Give what is to be written."""
        fields = asdict(self)
        return fields.pop("others") | fields

    def write(self, path: Path) -> None:
        """Write it beside its manifest; see `state_path`."""
        write_text(path, [json.dumps(self.as_dict(), indent=1), "\n"])

    @property
    def is_unfinished(self) -> bool:
        """Tell whether a run has begun and not come to its end."""
        return self.finished is False or self.overwrites or self.clears


FIELDS = set(RunState.__dataclass_fields__) - {"others"}


def state_path(manifest: Path) -> Path:
    """Name the file beside a manifest."""
    return manifest.with_suffix(".run.json")


def read_state(path: Path) -> dict[str, Any]:
    """Read what stands beside a manifest.

    Arguments
    ---------
    path : Path
        See `state_path`.

    Returns
    -------
    state : dict
        For `RunState.from_dict`; empty if there is no such file.

    Raises
    ------
    ValueError
        It is something else.
    """
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(state["runs"], dict):
            return state
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError):
        pass
    raise ValueError(
        f"{path} does not describe a run. Remove it, or name another "
        "--manifest."
    )


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Write a whole file beside its place, then move it there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        move_whole(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(path: Path) -> None:
    """Remove what killed processes left beside a file of `write_text`."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        old.unlink(missing_ok=True)
