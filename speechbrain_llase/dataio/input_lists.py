"""Lists of inputs: text, CSV, JSON and Kaldi's wav.scp.

A list is read as text and nothing in it is run or expanded.
"""

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from speechbrain_llase.dataio.urls import is_url

# Columns that are known to hold paths of noisy audio, in other projects too.
PATH_COLUMNS = (
    "wav path file filename input audio audio_path audio_filepath noisy"
    " noisy_wav noisy_path"
).split()
TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
LIST_SUFFIXES = (".txt", ".scp", *TABLE_SUFFIXES)
VARIABLE = re.compile(r"\$\{?\w|\{\w+\}/")  # SpeechBrain's placeholders


@dataclass(frozen=True)
class Entry:
    """One line of a list."""

    path: str  # as it is written there; a file, or a folder in a .txt list
    name: str | None = None  # names the output; None: the path does
    beside: str = ""  # what is heard beside it


def is_list(path: Path) -> bool:
    """Tell by its name whether a path is a list; folders are never one."""
    return path.suffix.lower() in LIST_SUFFIXES and not path.is_dir()


def read_list(path: Path, column: str | None = None) -> list[Entry]:
    """Read a list.

    `.txt`: one path a line. `.csv` and `.tsv`: a header and rows. `.jsonl`,
    `.ndjson` and `.json`: an object a line, or one object whose values are
    objects. `.scp`: an id and a path a line. Blank lines, and in `.txt` and
    `.scp` lines that begin with `#`, are skipped. `column` tells where the
    paths are in CSV and JSON; None means the one of `PATH_COLUMNS` that is
    there.

    Entries stand in order. In CSV and JSON an output is named by its path
    below the folder that all paths of the list share; in `.scp`, by the id. A
    list that is not what its name says, or names no file, is a ValueError.
    """
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        entries = pick_paths(path, read_table(path), column)
    elif suffix == ".scp":
        entries = read_scp(path, read_utf8(path))
    else:
        entries = [Entry(line) for _, line in numbered(read_utf8(path))]
    if not entries:
        raise ValueError(f"{path} names no file. Write one path per line.")
    for entry in entries:
        check_entry(path, entry)
    return entries


def check_entry(path: Path, entry: Entry) -> None:
    """Refuse what is no path, or no name of an output."""
    if not is_url(entry.path) and is_list(Path(entry.path)):
        raise ValueError(
            f"{path} names another list, {entry.path}. Give both lists as "
            "inputs."
        )
    if VARIABLE.match(entry.path):
        raise ValueError(
            f"{path} has a placeholder in {entry.path!r}; write the folder "
            "in its place."
        )
    names = [kind(entry.name or "") for kind in (PurePosixPath, Path)]
    if any(name.anchor or ".." in name.parts for name in names):
        raise ValueError(
            f"{path}: {entry.name!r} cannot name an output, which would lie "
            "outside the output folder."
        )


def read_utf8(path: Path) -> str:
    """Read the text of a list."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise ValueError(
            f"{path} is not UTF-8 text. A {path.suffix} input is a list of "
            "paths."
        ) from err


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that say something."""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line and line[0] != "#":
            yield number, line


def read_table(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Read the rows of a CSV or JSON list with numbers to name them by.

    Of one JSON object, whose values are rows, the keys are the column ID.
    """
    text = read_utf8(path)
    is_csv = path.suffix.lower() in (".csv", ".tsv")
    rows = read_csv(path, text) if is_csv else read_json(path, text)
    for number, row in rows:
        if not isinstance(row, dict):
            raise ValueError(f"{path}, entry {number}, is no object.")
    return rows


def read_csv(path: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    """Read the rows below a header."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        skipinitialspace=True,
        strict=True,
    )
    try:
        return [(reader.line_num, row) for row in reader]
    except csv.Error as err:
        raise ValueError(
            f"{path} is no CSV ({err}, after line {reader.line_num})."
        ) from err


def read_json(path: Path, text: str) -> list[tuple[int, Any]]:
    """Read an object a line, or an object of objects as SpeechBrain has.

    Of the latter, keys that are there twice are kept, too.
    """
    lines = [(k, x.strip()) for k, x in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line]
    try:
        whole = json.loads(text, object_pairs_hook=Pairs)
    except ValueError as err:
        try:
            return [(number, json.loads(line)) for number, line in lines]
        except ValueError:
            raise ValueError(
                f"{path} is no JSON ({err}). Write one object per line, such "
                'as {"audio_filepath": "a.wav"}.'
            ) from err
    if not isinstance(whole, Pairs):
        raise ValueError(f"{path}: write one JSON object per line.")
    is_row = not all(isinstance(row, Pairs) for _, row in whole)
    if len(lines) == 1 and is_row:
        return [(number, json.loads(line)) for number, line in lines]
    return [
        (k, {"ID": name, **dict(row)} if isinstance(row, Pairs) else row)
        for k, (name, row) in enumerate(whole, 1)
    ]


class Pairs(list):
    """A JSON object as (key, value) in order."""


def pick_paths(
    path: Path, rows: Sequence[tuple[int, dict[str, Any]]], column: str | None
) -> list[Entry]:
    """Take the paths out of numbered rows."""
    if not rows:
        return []
    column = column or pick_column(path, rows[0][1])
    paths = []
    for number, row in rows:
        found = row.get(column)
        if not isinstance(found, str) or not found.strip():
            raise ValueError(
                f"{path}, line {number}: {column}={found!r} is no path; its "
                f"columns are {', '.join(map(str, row))}. --column names "
                "another."
            )
        paths.append(found.strip())
    names = below_common(paths)
    return [Entry(*pair) for pair in zip(paths, names, strict=True)]


def pick_column(path: Path, row: dict[str, Any]) -> str:
    """Find the one column that is known to hold paths."""
    found = [column for column in row if column in PATH_COLUMNS]
    if len(found) == 1:
        return found[0]
    what = (
        f"several columns that may hold the paths ({', '.join(found)})"
        if found
        else f"no column of a known name ({', '.join(PATH_COLUMNS)}), only "
        f"{', '.join(map(str, row))}"
    )
    raise ValueError(f"{path} has {what}. Choose one with --column NAME.")


def below_common(paths: Iterable[str]) -> list[str]:
    """Cut off the folder that all paths share.

    Example
    -------
    >>> below_common(["/data/a/1.wav", "/data/b/1.wav"])
    ['a/1.wav', 'b/1.wav']
    >>> below_common(["s3://bucket/a/1.wav"])
    ['1.wav']
    """
    parts = [
        path.split("/") if is_url(path) else Path(os.path.abspath(path)).parts
        for path in paths
    ]
    shared = len(os.path.commonprefix([list(p[:-1]) for p in parts]))
    return ["/".join(p[shared:]) for p in parts]


def read_scp(path: Path, text: str) -> list[Entry]:
    """Read Kaldi's table of ids and paths."""
    entries = []
    for number, line in numbered(text):
        name, _, source = line.partition(" ")
        if "\t" in name:
            name, _, source = line.partition("\t")
        source = source.strip()
        if not source:
            raise ValueError(
                f"{path}, line {number}: {line!r} is not an id and a path."
            )
        if source.endswith("|") or source.startswith("|"):
            raise ValueError(
                f"{path}, line {number}: {name} is made by a command "
                f"({source!r}), and commands are never run. Write its output "
                "to a file and name that."
            )
        entries.append(Entry(source, name))
    return entries
