"""Find the tensors of a file, rename them, load them strictly.

A file is opened for its keys and shapes; a tensor is read when it is copied
into a module, one at a time, so what is not used is never read. Nothing but
tensors and plain values is ever unpickled, and a tensor that is missing,
unknown or of another shape is an error that names it.

Authors
 * The speechbrain_llase contributors 2026
"""

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from speechbrain_llase.nnet.precision import filled

WRAPPERS = ("model_state_dict", "state_dict", "model")
SHOWN = 8  # keys named in an error


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: its shape is known, its values are not read yet."""

    shape: torch.Size
    read: Callable[[], torch.Tensor]  # to the CPU


def read_tensors(path: str) -> dict[str, torch.Tensor]:
    """Read all tensors of a checkpoint; as `open_tensors`."""
    return {key: stored.read() for key, stored in open_tensors(path).items()}


def open_tensors(path: str) -> dict[str, StoredTensor]:
    """Find the tensors of a checkpoint, recognised by its first bytes.

    Arguments
    ---------
    path : str
        A safetensors file, or one that torch.save wrote; of the latter,
        tensors under "model_state_dict", "state_dict" or "model" are taken.
        Nothing but tensors and plain values is unpickled.

    Returns
    -------
    tensors : dict
        Key -> StoredTensor. Only files in torch.save's old form, which is no
        archive, have been read at this point.

    Raises
    ------
    ValueError
        The file is empty, truncated, of another kind, or holds no tensors.
    """
    with open(path, "rb") as file:
        head = file.read(9)
    size = Path(path).stat().st_size
    try:
        if head[8:9] == b"{":
            return open_safetensors(path)
        if head[:2] == b"PK" or head[:1] == b"\x80":
            tensors = unwrap(load_pickle(path), path)
            return {key: stored(tensor) for key, tensor in tensors.items()}
    except (SafetensorError, RuntimeError, EOFError, OSError) as err:
        raise ValueError(
            f"{path} ({size} bytes) is damaged, perhaps a download that broke "
            f"off; fetch it again. ({str(err).splitlines()[0]})"
        ) from err
    except pickle.UnpicklingError as err:
        raise ValueError(
            f"{path} holds more than tensors and plain values; it was not "
            "unpickled, because that could run code. Ask for safetensors."
        ) from err
    raise ValueError(
        f"{path} ({size} bytes) begins with {head!r}: neither safetensors nor "
        "a torch.save file. A web page saved in its place?"
    )


def open_safetensors(path: str) -> dict[str, StoredTensor]:
    """Find the tensors of a safetensors file.

    The file is opened again for each: what is mapped into memory goes with
    the tensor, and does not add up to the whole file.
    """

    def reader(key: str) -> Callable[[], torch.Tensor]:
        """A function that reads one tensor."""

        def read() -> torch.Tensor:
            with safe_open(path, framework="pt") as file:
                return file.get_tensor(key)

        return read

    with safe_open(path, framework="pt") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}
    return {
        key: StoredTensor(torch.Size(shape), reader(key))
        for key, shape in shapes.items()
    }


def load_pickle(path: str) -> object:
    """Open what torch.save wrote, mapped into memory if it is an archive."""
    with open(path, "rb") as file:
        is_archive = file.read(4) == b"PK\x03\x04"
    return torch.load(
        path, map_location="cpu", weights_only=True, mmap=is_archive
    )


def stored(tensor: torch.Tensor) -> StoredTensor:
    """Wrap a tensor that is in memory, or mapped into it."""
    return StoredTensor(tensor.shape, lambda: tensor)


def read_config(path: str) -> dict:
    """Read what a unilm checkpoint says under `cfg`; {} for other files."""
    with open(path, "rb") as file:
        if file.read(9)[8:9] == b"{":
            return {}
    config = load_pickle(path).get("cfg", {})
    return config if isinstance(config, dict) else {}


def unwrap(loaded: object, path: str) -> dict[str, torch.Tensor]:
    """Find the tensors in what torch.save wrote."""
    for key in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        raise ValueError(f"{path} holds {type(loaded).__name__}, not tensors.")
    others = [k for k, v in loaded.items() if not torch.is_tensor(v)]
    if others:
        raise ValueError(
            f"{path} holds no tensors under {listed(others)}; expected a "
            f"state dict, plain or under one of {', '.join(WRAPPERS)}."
        )
    return loaded


def rename(
    tensors: dict[str, StoredTensor], rules: list[tuple[str, str]]
) -> dict[str, StoredTensor]:
    """Apply the rules, in order, to every key."""
    renamed = {}
    for key, tensor in tensors.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key, count=1)
        renamed[key] = tensor
    return renamed


def drop(
    tensors: dict[str, StoredTensor], ignored: list[str]
) -> dict[str, StoredTensor]:
    """Leave out the keys that match one of the ignored patterns."""
    patterns = re.compile("|".join(ignored))
    return {k: v for k, v in tensors.items() if not patterns.match(k)}


def load_strictly(
    module: torch.nn.Module, tensors: dict[str, StoredTensor], path: str
) -> None:
    """Read tensors into a module; all must be there and nothing else.

    Arguments
    ---------
    module : torch.nn.Module
        What is filled; tensors are converted to its dtypes.
    tensors : dict
        Key -> StoredTensor; each is read, copied and let go.
    path : str
        Named in the error.

    Raises
    ------
    ValueError
        Keys are missing, unknown or of another shape; nothing was copied.
    """
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - wanted.keys())
    misshapen = [
        f"{k} is {tuple(tensors[k].shape)}, the YAML says {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in tensors and tensors[k].shape != v.shape
    ]
    problems = [
        f"{what}: {listed(keys)}"
        for what, keys in (
            ("missing", missing),
            ("unknown", unknown),
            ("misshapen", misshapen),
        )
        if keys
    ]
    if problems:
        raise ValueError(
            f"{path} does not fit {type(module).__name__}. "
            + "; ".join(problems)
        )
    with torch.no_grad():
        for key, target in wanted.items():
            target.copy_(tensors[key].read())
    filled(module)


def listed(keys: list[str]) -> str:
    """Name the first keys, and count the others."""
    more = len(keys) - SHOWN
    shown = ", ".join(map(str, keys[:SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown
