"""Find the tensors of a file, rename them, load them strictly.

A file is opened for its keys and shapes; a tensor is read when it is copied
into a module, one at a time, so what is not used is never read. A tensor that
is missing, unknown or of another shape is an error that names it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from speechbrain_llase.nnet.precision import filled
from speechbrain_llase.pretrained.pickles import listed, load_pickle, unwrap


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: its shape is known, its values are not read yet."""

    shape: torch.Size
    read: Callable[[], torch.Tensor]  # to the CPU
    names: frozenset[str] = frozenset()  # in the file, of what it is made of


def read_tensors(path: str) -> dict[str, torch.Tensor]:
    """Read all tensors of a checkpoint; as `open_tensors`."""
    return {key: stored.read() for key, stored in open_tensors(path).items()}


def open_tensors(path: str) -> dict[str, StoredTensor]:
    """Find the tensors of a checkpoint, recognised by its first bytes.

    Of a file that torch.save wrote, tensors under "model_state_dict",
    "state_dict" or "model" are taken, and nothing but tensors and plain values
    is unpickled; its old form, which is no archive, is read at once. A
    ValueError if the file is empty, truncated, of another kind or without
    tensors.
    """
    with open(path, "rb") as file:
        head = file.read(9)
    size = Path(path).stat().st_size
    try:
        if is_safetensors(path):
            return open_safetensors(path)
        if head[:2] == b"PK" or head[:1] == b"\x80":
            tensors = unwrap(load_pickle(path), path)
            return {
                key: StoredTensor(x.shape, lambda x=x: x, frozenset([key]))
                for key, x in tensors.items()
            }
    except (SafetensorError, RuntimeError, EOFError, OSError) as err:
        reason = str(err).partition("\n")[0].partition(". ")[0]
        raise ValueError(
            f"{path} ({size} bytes) is damaged, perhaps a download that broke "
            f"off; fetch it again. ({reason})"
        ) from err
    raise ValueError(
        f"{path} ({size} bytes) begins with {head!r}: neither safetensors nor "
        "a torch.save file. A web page saved in its place?"
    )


def is_safetensors(path: str | Path) -> bool:
    """Do its first bytes say so?"""
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{"


def open_safetensors(path: str) -> dict[str, StoredTensor]:
    """Find the tensors of a safetensors file.

    The file is opened again for each: what is mapped into memory goes with
    the tensor, and does not add up to the whole file.
    """

    def read(key: str) -> torch.Tensor:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(key)

    with safe_open(path, framework="pt") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}
    return {
        key: StoredTensor(
            torch.Size(shape), partial(read, key), frozenset([key])
        )
        for key, shape in shapes.items()
    }


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


def misfits(
    module: torch.nn.Module,
    tensors: dict[str, StoredTensor],
    ignore: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Compare tensors with what a module wants.

    Gives `missing` keys of the module, `unknown` names of the file that match
    no pattern (``*`` and ``?``) of `ignore`, `misshapen` keys with both
    shapes; only what there is.
    """
    wanted = module.state_dict()
    unknown = {
        name
        for key in tensors.keys() - wanted.keys()
        for name in tensors[key].names or [key]
        if not any(fnmatchcase(name, pattern) for pattern in ignore)
    }
    misshapen = [
        f"{k} is {tuple(tensors[k].shape)}, the YAML says {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in tensors and tensors[k].shape != v.shape
    ]
    problems = {
        "missing": sorted(wanted.keys() - tensors.keys()),
        "unknown": sorted(unknown),
        "misshapen": misshapen,
    }
    return {what: keys for what, keys in problems.items() if keys}


def load_strictly(
    module: torch.nn.Module,
    tensors: dict[str, StoredTensor],
    path: str,
    ignore: Sequence[str] = (),
) -> None:
    """Read tensors into a module, one by one, converted to its dtypes.

    A ValueError, before anything is copied, if keys are missing, of another
    shape, or unknown and not among the patterns to `ignore`.
    """
    problems = misfits(module, tensors, ignore)
    if problems:
        found = [f"{what}: {listed(keys)}" for what, keys in problems.items()]
        advice = ""
        if "unknown" in problems:
            advice = (
                ". Unknown names that you know to be of no use can be left "
                f"out: --ignore {problems['unknown'][0]!r} (convert and "
                "download; * and ? stand for any letters; in Python ignore=)"
            )
        raise ValueError(
            f"{path} does not fit {type(module).__name__}. "
            + "; ".join(found)
            + advice
        )
    with torch.no_grad():
        for key, target in module.state_dict().items():
            target.copy_(tensors[key].read())
    filled(module)
