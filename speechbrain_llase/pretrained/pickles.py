"""Files of torch.save: opened without running anything that they hold.

`weights_only` stays on. Objects that are neither tensors nor plain values, such
as the settings of a training, are passed over: torch's unpickler is given a
class of ours in the place of theirs, which takes everything and does nothing.
"""

import functools
import logging
import shlex
from collections import OrderedDict

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

WRAPPERS = ("model_state_dict", "state_dict", "model")
ARCHIVE = b"PK\x03\x04"  # how torch.save's files begin, since torch 1.6
TO_SAFETENSORS = (
    "import sys, torch, safetensors.torch as s; "
    "d = torch.load(sys.argv[1], 'cpu', weights_only=False); "
    f"d = next((d[k] for k in {WRAPPERS} if k in d), d); "
    "s.save_file({k: v.clone().contiguous() for k, v in d.items() "
    "if torch.is_tensor(v)}, sys.argv[2])"
)

logger = logging.getLogger(__name__)


class LikeOrderedDict(type):
    """Kind of a class into whose objects torch's unpickler puts items."""

    __hash__ = type.__hash__

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is OrderedDict


class PassedOver(metaclass=LikeOrderedDict):
    """Stands where an object was; takes what is given, keeps nothing."""

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass


def load_pickle(path: str) -> object:
    """Open what torch.save wrote, mapped into memory if it is an archive.

    Gives tensors and plain values, and `PassedOver` in the place of anything
    else. A ValueError if that is impossible (nothing was run), a RuntimeError,
    EOFError or OSError if the file is damaged.
    """
    try:
        names = passed_over(path)
        if names:
            warn_passed_over(path, names)
        with safe_globals([(PassedOver, name) for name in names]):
            mapped = is_archive(path)
            return torch.load(path, "cpu", weights_only=True, mmap=mapped)
    except (RuntimeError, EOFError, OSError, MemoryError):
        raise
    except Exception as err:  # whatever a hostile or an odd pickle leads to
        raise ValueError(
            f"{path} holds more than tensors and plain values; {trust(path)}"
        ) from err


def is_archive(path: str) -> bool:
    """Is it in torch.save's present form?"""
    with open(path, "rb") as file:
        return file.read(len(ARCHIVE)) == ARCHIVE


def passed_over(path: str) -> tuple[str, ...]:
    """Classes and functions of which an archive holds objects; () for others."""
    if not is_archive(path):
        return ()
    return tuple(sorted(get_unsafe_globals_in_checkpoint(path)))


@functools.cache  # once for a file, however often it is opened
def warn_passed_over(path: str, names: tuple[str, ...]) -> None:
    """Say what was passed over, in one line."""
    logger.warning(
        "%s: passed over, and not run: objects of %s", path, ", ".join(names)
    )


def trust(path: str) -> str:
    """Say why an object was not read, and how somebody who trusts it can."""
    command = ["python", "-c", TO_SAFETENSORS, path, f"{path}.safetensors"]
    return (
        "it was not unpickled, because that could run code. If you trust it, "
        "make safetensors of it, on a machine that may come to harm, by: "
        f"{shlex.join(command)}"
    )


def unwrap(loaded: object, path: str) -> dict[str, torch.Tensor]:
    """Find the tensors in what torch.save wrote."""
    for key in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        hint = f"; {trust(path)}" if isinstance(loaded, PassedOver) else "."
        raise ValueError(
            f"{path} holds {type(loaded).__name__}, not tensors{hint}"
        )
    others = [key for key in loaded if not torch.is_tensor(loaded[key])]
    if others:
        hint = ""
        if any(isinstance(loaded[key], PassedOver) for key in others):
            hint = f" It holds objects there; {trust(path)}"
        raise ValueError(
            f"{path} holds no tensors under {listed(others)}; expected a "
            f"state dict, plain or under one of {', '.join(WRAPPERS)}.{hint}"
        )
    return loaded


def listed(keys: list[str], most: int = 10) -> str:
    """Name the first keys, and count the others."""
    more = len(keys) - most
    shown = ", ".join(map(str, keys[:most]))
    return f"{shown} and {more} more" if more > 0 else shown
