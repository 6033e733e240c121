"""The files of a manifest: its lines of JSON, and the run's state beside it."""

import dataclasses
import glob
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbrain_llase.dataio.whole_files import whole_file

if TYPE_CHECKING:
    from speechbrain_llase.bulk.batcher import Outcome
    from speechbrain_llase.bulk.run_settings import Description


STATUSES = ("done", "kept", "failed")
LOSS = "reduced to"  # in warnings of what an output has less of
START = b'{"input": '  # of every line


@dataclasses.dataclass(frozen=True)
class Record:
    """What became of one file."""

    input: str  # as it was given or found
    output: str
    status: str  # "done", "failed", or "kept": it was there before the run
    seconds: float = 0.0  # of audio
    model: str | None = None  # name and digest; None where it is not known
    settings: str | None = None  # fingerprint of the run's description
    confidence: float | None = None  # nats, mean log probability of a token
    error: str | None = None  # one line, of what failed
    warnings: tuple[str, ...] = ()  # what the output lost, and the like
    work_s: float = 0.0  # seconds of work, its share of the batches
    gaps: int = 0  # of lost packets, where they were looked for
    lost_s: float = 0.0  # seconds in them

    def as_json(self) -> str:
        """Write one line of JSON, without the line's end.

        Bytes of names that are no UTF-8 are escaped, and come back.
        """
        fields = dataclasses.asdict(self)
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8", "backslashreplace").decode()

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Record":
        """Build a record; keys of later versions are left out."""
        if not isinstance(fields, dict):
            raise ValueError(f"{fields!r:.40} is no object")
        known = {field.name for field in dataclasses.fields(cls)}
        fields = {key: x for key, x in fields.items() if key in known}
        for key in ("input", "output", "status"):
            if not isinstance(fields.get(key), str):
                raise ValueError(f"{key}={fields.get(key)!r} must be text")
        if fields["status"] not in STATUSES:
            raise ValueError(
                f"status={fields['status']!r} must be one of "
                f"{', '.join(STATUSES)}"
            )
        return cls(**fields | {"warnings": tuple(fields.get("warnings", ()))})


def make_record(
    outcome: "Outcome", run: "Description", inside: str = ""
) -> Record:
    """Describe a unit's outcome, or a recording's `inside` the unit."""
    return Record(
        input=outcome.job.input + inside,
        output=outcome.job.name + inside,
        status="failed" if outcome.error else "done",
        seconds=round(outcome.seconds, 6),
        model=run.model,
        settings=run.fingerprint,
        confidence=rounded(outcome.confidence),
        error=outcome.error,
        warnings=outcome.warnings,
        work_s=round(outcome.work_s, 4),
        gaps=outcome.gaps,
        lost_s=round(outcome.lost_s, 4),
    )


def rounded(figure: float | None) -> float | None:
    """Round to four digits; None stays, and so NaN does not get in."""
    if figure is None or not math.isfinite(figure):
        return None
    return round(figure, 4)


def read_records(path: str | Path) -> Iterator[Record]:
    """Read a manifest line by line.

    A last line without its end, which a killed process leaves behind, is
    skipped; another one that is no record is a ValueError.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # torn
            try:
                yield Record.from_dict(json.loads(line))
            except (ValueError, TypeError) as err:
                raise ValueError(
                    f"{path}, line {number}, is no record of a run ({err}). "
                    "Name another --manifest, or repair or remove it."
                ) from err


def last_records(path: Path) -> Iterator[Record]:
    """Read a manifest; of each output, only the last line."""
    last = {r.output: k for k, r in enumerate(read_records(path))}
    for k, record in enumerate(read_records(path)):
        if last[record.output] == k:
            yield record


def refuse_foreign(path: Path) -> None:
    """Refuse a link, and a file without a whole line that begins as ours do.

    It is somebody's; a torn line of ours would be cut off.
    """
    if path.is_symlink():
        raise ValueError(
            f"{path} is a link, and no link is written through. Remove it, or "
            "name the manifest itself with --manifest."
        )
    if not path.exists():
        return
    with open(path, "rb") as file:
        line = file.readline(1 << 20)
    if not line.endswith(b"\n") and not START.startswith(line[: len(START)]):
        raise ValueError(
            f"{path} is no manifest of a run: it begins with {line[:20]!r}. "
            "Name another --manifest, or remove it."
        )


def cut_torn_line(path: Path) -> None:
    """Cut off a last line that has no end."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            cut = file.read(end - start).rfind(b"\n")
            if cut >= 0:
                end = start + cut + 1
                break
            end = start
        file.truncate(end)


def one_line(err: Exception) -> str:
    """Write an error's message, or else its name, in one line."""
    return " ".join(str(err).split()) or type(err).__name__


@dataclasses.dataclass
class RunState:
    """What a manifest is made with, and how far the run is."""

    overwrites: bool = False  # outputs without a line are made again
    clears: bool = False  # its lines are void, and about to be removed
    finished: bool | None = None  # None: an older version wrote it
    planned: int | None = None  # outputs
    plan: str = ""  # digest of their names
    id: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))
    runs: dict[str, Any] = dataclasses.field(
        default_factory=dict
    )  # by fingerprint
    output: str | None = None  # URL of the results; None: a folder
    copies: int = 0  # of the manifest, that were made beside the results

    def as_json(self) -> str:
        """Give what is to be written."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

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
            names = {field.name for field in dataclasses.fields(RunState)}
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
