"""Fuse what lies between matrix products, with PyTorch's compiler.

On a GPU, norms, rotations and activations wait for memory, not for
arithmetic. Compiled, each run of them reads and writes its rows once. What is
marked here sees rows and never where an item ends, so one compiled form
serves all layers of a network and all lengths.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps

import torch
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)
_fusing: ContextVar[bool] = ContextVar("fusing", default=False)


def can_fuse(wanted: bool, device: str | torch.device) -> bool:
    """Tell whether to fuse; warn where it is wanted and does not pay."""
    on_cuda = torch.device(device).type == "cuda"
    if wanted and not on_cuda:
        logger.warning(
            "compile=True pays on a CUDA device alone, and the device is %s: "
            "layers run as they are.",
            device,
        )
    return bool(wanted) and on_cuda


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

    It takes networks and tensors (total, ...), whose first size may be any.
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
