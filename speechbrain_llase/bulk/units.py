"""Units of a run, and many of them in memory that does not grow with them.

A unit is what is enhanced and resumed as one: a file, a tar shard or a table,
on this machine or behind a URL.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from speechbrain_llase.dataio.urls import is_url, join, show, whole

SHARD_ENDINGS = (".tar", ".tar.gz", ".tgz")
TABLE_ENDINGS = (".parquet", ".arrow")
SETUP = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA cache_size = -16000",  # 16 MB
    "CREATE TABLE units (identity, name, source, beside, second, size,"
    " UNIQUE(identity, name))",
)
ADD = (
    "INSERT INTO units VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
    "source = excluded.source, size = excluded.size"
)
SOURCE = (
    "SELECT source FROM units WHERE identity = ? ORDER BY rowid DESC LIMIT 1"
)
SOURCES = "SELECT source FROM units WHERE identity = ? ORDER BY rowid"
SAME = "name" if os.path.normcase("A") == "A" else "normcase(name)"
SHARED = (
    f"SELECT {SAME} AS same, min(rowid) AS first FROM units GROUP BY same "
    "HAVING count(*) > 1"
)


@dataclass(frozen=True, slots=True)
class Unit:
    """One file, shard or table."""

    source: str  # URL or path, as it was given or found
    top: str  # URL or path of the output folder
    name: str  # of the result below that folder, with slashes
    size: int = 0  # bytes of the source
    beside: str = ""  # URL or path of what is heard beside it, if anything is
    second: str = ""  # name of the second speaker's result, if there are two

    @property
    def kind(self) -> str:
        """Tell by its name: "file", "shard" or "table"."""
        return kind_of(self.source)

    @property
    def target(self) -> str:
        """URL or path of the result."""
        if is_url(self.top):
            return join(self.top, self.name)
        return os.path.join(self.top, self.name)

    @property
    def results(self) -> "list[Unit]":
        """Itself; of two speakers, a unit for the result of each."""
        if not self.second:
            return [self]
        return [self, replace(self, name=self.second, second="")]

    @property
    def input(self) -> str:
        """What it is made of, as the manifest names it.

        Absolute, without secrets; what is heard beside it follows a plus.
        """
        places = filter(None, (self.source, self.beside))
        return " + ".join(show(whole(place)) for place in places)


def kind_of(place: str) -> str:
    """Tell by its name what a place holds.

    Example
    -------
    >>> [kind_of(p) for p in ("a.wav", "s3://b/0.tar", "a.PARQUET", "a.tgz")]
    ['file', 'shard', 'table', 'shard']
    """
    name = place.partition("?")[0] if is_url(place) else place
    if name.lower().endswith(SHARD_ENDINGS):
        return "shard"
    return "table" if name.lower().endswith(TABLE_ENDINGS) else "file"


class UnitList:
    """Units below one output folder, in order, in memory that does not grow.

    They lie in a temporary file of SQLite, which is gone with the list; few
    units need none. TMPDIR says where.

    Arguments
    ---------
    top : str
        URL or path of the output folder.
    units : iterable of Unit
        The first ones.

    Example
    -------
    >>> units = UnitList("out", [Unit(x, "out", f"{x}.wav") for x in "bac"])
    >>> len(units), [unit.source for unit in units], next(units.by_name()).name
    (3, ['b', 'a', 'c'], 'a.wav')
    """

    def __init__(self, top: str, units: Iterable[Unit] = ()):
        self.top = top
        self.db = sqlite3.connect("")
        for command in SETUP:
            self.db.execute(command)
        self.db.create_function("normcase", 1, normcase)
        self.extend((None, unit) for unit in units)

    def extend(self, units: Iterable[tuple[str | None, Unit]]) -> None:
        """Add units, each with what its source is; see `refusals.look_at`.

        One with the identity and the name of an earlier one takes its place.
        OSError: no room for the temporary file.
        """
        rows = (
            (
                key and to_bytes(key),
                to_bytes(u.name),
                *map(to_bytes, (u.source, u.beside, u.second)),
                u.size,
            )
            for key, u in units
        )
        with clear_reason():
            self.db.executemany(ADD, rows)

    def append(self, unit: Unit) -> None:
        """Add one unit."""
        self.extend([(None, unit)])

    def __len__(self) -> int:
        return self.db.execute("SELECT count(*) FROM units").fetchone()[0]

    def __iter__(self) -> Iterator[Unit]:
        return self.read("ORDER BY rowid")

    def by_name(self) -> Iterator[Unit]:
        """Yield all in the order of their names."""
        return self.read("ORDER BY name")

    def clashing(self) -> Iterator[Unit]:
        """Yield those whose names are one to the system, side by side."""
        return self.read(f"JOIN ({SHARED}) ON {SAME} = same ORDER BY first")

    def read(self, how: str) -> Iterator[Unit]:
        """Yield what a query finds."""
        query = (
            "SELECT source, name, beside, second, size FROM units "
            f"{how}, units.rowid"
        )
        with clear_reason():
            rows = self.db.execute(query)
        for *places, size in rows:
            source, name, *rest = map(from_bytes, places)
            yield Unit(source, self.top, name, size, *rest)

    def source_of(self, identity: str) -> str | None:
        """Find the source that a place is, if it is one."""
        found = self.db.execute(SOURCE, (to_bytes(identity),)).fetchone()
        return found and from_bytes(found[0])

    def sources_of(self, identity: str) -> list[str]:
        """Find all sources that were added with an identity."""
        found = self.db.execute(SOURCES, (to_bytes(identity),))
        return [from_bytes(source) for (source,) in found]


@contextmanager
def clear_reason() -> Iterator[None]:
    """Say what to do where the temporary file cannot be written."""
    try:
        yield
    except sqlite3.OperationalError as err:
        raise OSError(
            f"the plan cannot be kept in a temporary file ({err}); set TMPDIR "
            "to a folder with room."
        ) from err


def to_bytes(text: str) -> bytes:
    """Write any name, one that is no UTF-8, too, in the order of names."""
    return text.encode("utf-8", "surrogatepass")


def from_bytes(text: bytes) -> str:
    """Read what `to_bytes` wrote."""
    return text.decode("utf-8", "surrogatepass")


def normcase(name: bytes) -> bytes:
    """Write a name as the system compares it."""
    return to_bytes(os.path.normcase(from_bytes(name)))
