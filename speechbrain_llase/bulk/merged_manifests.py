"""All shards of a run, read together."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from speechbrain_llase.bulk.records import (
    Record,
    read_records,
    read_state,
    state_path,
)

NAME = re.compile(r"manifest(?:-(\d+)of(\d+))?\.jsonl")
BELIEVED = {"failed": 0, "kept": 1, "done": 2}  # the higher one


def shard_of(path: Path) -> tuple[int, int]:
    """Tell which shard of how many a manifest is of; (1, 1) for a whole one."""
    match = NAME.fullmatch(path.name)
    if not match or not match[1]:
        return 1, 1
    return int(match[1]), int(match[2])


def missing_shards(paths: Iterable[Path]) -> list[str]:
    """Name the shards that nobody has begun, such as "3/8"."""
    shards = {shard_of(path) for path in paths}
    counts = {count for _, count in shards}
    return [
        f"{part}/{count}"
        for count in sorted(counts)
        for part in range(1, count + 1)
        if (part, count) not in shards
    ]


def unfinished(paths: Iterable[Path]) -> list[str]:
    """Name the manifests whose runs have begun and not come to their end."""
    states = ((path, read_state(state_path(path))) for path in paths)
    return [
        f"{path} ({state.planned or 'an unknown number of'} files planned)"
        for path, state in states
        if state.is_unfinished
    ]


def read_run(paths: Iterable[str | Path]) -> dict[str, Record]:
    """Read manifests, or folders of them, together; one record an output.

    The last line of a manifest holds. Where manifests differ, done is believed
    before kept, kept before failed.
    """
    merged: dict[str, Record] = {}
    for path in list_manifests(paths):
        latest = {record.output: record for record in read_records(path)}
        for output, record in latest.items():
            known = merged.setdefault(output, record)
            if BELIEVED[record.status] >= BELIEVED[known.status]:
                merged[output] = record
    return merged


def list_manifests(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Replace folders by the manifests in them, sorted by shard."""
    for path in map(Path, paths):
        if not path.is_dir():
            yield path
            continue
        found = [x for x in path.iterdir() if NAME.fullmatch(x.name)]
        if not found:
            raise ValueError(
                f"{path} holds no manifest.jsonl and no manifest-1of8.jsonl or "
                "the like; pass the output folder of a run, or its manifests."
            )
        yield from sorted(found, key=shard_of)
