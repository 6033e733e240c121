"""Read the tensors of a file, rename them, load them strictly.

Nothing but tensors and plain values is ever unpickled, and a tensor that is
missing, unknown or of another shape is an error that names it.

Authors
 * The speechbrain_llase contributors 2026
"""

import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

WRAPPERS = ("model_state_dict", "state_dict", "model")
SHOWN = 8  # keys named in an error


def read_tensors(path: str) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint, recognised by its first bytes.

    Arguments
    ---------
    path : str
        A safetensors file, or one that torch.save wrote; of the latter,
        tensors under "model_state_dict", "state_dict" or "model" are taken.
        Nothing but tensors and plain values is unpickled.

    Returns
    -------
    tensors : dict
        Key -> tensor, on the CPU.

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
            return load_file(path)
        if head[:2] == b"PK" or head[:1] == b"\x80":
            return unwrap(
                torch.load(path, map_location="cpu", weights_only=True), path
            )
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


def read_config(path: str) -> dict:
    """Read what a unilm checkpoint says under `cfg`; {} for other files."""
    with open(path, "rb") as file:
        if file.read(9)[8:9] == b"{":
            return {}
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    config = loaded.get("cfg", {})
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
    tensors: dict[str, torch.Tensor], rules: list[tuple[str, str]]
) -> dict[str, torch.Tensor]:
    """Apply the rules, in order, to every key."""
    renamed = {}
    for key, tensor in tensors.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key, count=1)
        renamed[key] = tensor
    return renamed


def drop(
    tensors: dict[str, torch.Tensor], ignored: list[str]
) -> dict[str, torch.Tensor]:
    """Leave out the keys that match one of the ignored patterns."""
    patterns = re.compile("|".join(ignored))
    return {k: v for k, v in tensors.items() if not patterns.match(k)}


def load_strictly(
    module: torch.nn.Module, tensors: dict[str, torch.Tensor], path: str
) -> None:
    """Copy tensors into a module; all must be there and nothing else.

    Arguments
    ---------
    module : torch.nn.Module
        What is filled; tensors are converted to its dtypes.
    tensors : dict
        Key -> tensor.
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
    module.load_state_dict(tensors, strict=True)


def listed(keys: list[str]) -> str:
    """Name the first keys, and count the others."""
    more = len(keys) - SHOWN
    shown = ", ".join(map(str, keys[:SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown
