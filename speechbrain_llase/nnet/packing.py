"""Items of different lengths, end to end in one tensor, without padding.

Layers that treat every row alike (projections, norms over channels) run on
all rows at once. Only what looks along time (convolutions, attention, norms
over time) has to know where an item ends: it runs once for each *run*,
neighbours of equal length. So a batch gives each item what it gets alone.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import torch

Runs = list[tuple[int, int]]  # (items, rows of each), in order


def pack(items: Sequence[torch.Tensor]) -> tuple[torch.Tensor, Runs]:
    """Join items (rows, ...) to (total, ...), and say where they end.

    A run is how many items of how many rows follow one another: equal lengths
    side by side share one.

    Example
    -------
    >>> rows, runs = pack([torch.zeros(3, 2), torch.ones(3, 2)])
    >>> rows.shape, runs
    (torch.Size([6, 2]), [(2, 3)])
    """
    lengths = [item.shape[0] for item in items]
    runs = [(len(list(group)), rows) for rows, group in groupby(lengths)]
    return (items[0] if len(items) == 1 else torch.cat(list(items))), runs


def unpack(rows: torch.Tensor, runs: Runs) -> list[torch.Tensor]:
    """Cut (total, ...) back into items (rows, ...), the inverse of `pack`."""
    return list(rows.split([n for count, n in runs for _ in range(count)]))


def each_run(
    stage: Callable[[torch.Tensor], torch.Tensor],
    rows: torch.Tensor,
    runs: Runs,
) -> torch.Tensor:
    """Apply a stage that looks along time to rows (total, ...).

    The stage is (B, N, ...) -> (B, M, ...); its items must not see one
    another.
    """
    parts = rows.split([count * n for count, n in runs])
    results = [
        stage(part.unflatten(0, run)).flatten(0, 1)
        for part, run in zip(parts, runs, strict=True)
    ]
    return results[0] if len(results) == 1 else torch.cat(results)
