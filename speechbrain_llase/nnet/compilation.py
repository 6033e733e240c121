"""Fuse what lies between matrix products, with PyTorch's compiler.

On a GPU, norms, rotations and activations wait for memory, not for
arithmetic. Compiled, each run of them reads and writes its rows once. What is
marked here sees rows and never where an item ends, so one compiled form
serves all layers of a network and all lengths.

Authors
 * The speechbrain_llase contributors 2026
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps

import torch

_fusing: ContextVar[bool] = ContextVar("fusing", default=False)


@contextmanager
def fusing(wanted: bool) -> Iterator[None]:
    """Run functions that are `fusible` in compiled form, if wanted."""
    token = _fusing.set(wanted)
    try:
        yield
    finally:
        _fusing.reset(token)


def fusible(function: Callable) -> Callable:
    """Let a function be compiled when it first runs under `fusing`.

    Arguments
    ---------
    function : callable
        Of networks and of tensors (total, ...), whose first size may be any.

    Returns
    -------
    function : callable
        The same; compiled where `fusing` is on.
    """
    compiled = None

    @wraps(function)
    def run(*args):
        nonlocal compiled
        if not _fusing.get():
            return function(*args)
        if compiled is None:
            compiled = torch.compile(function, dynamic=True)
        return compiled(*args)

    return run
