"""What sub-commands share: options, loading, printing, exit codes.

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechbrain_llase import EnhanceLLaSE


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `load_enhancer` reads."""
    add_device_options(parser)
    add = parser.add_argument
    add(
        "--source",
        default="llase_mini",
        type=non_empty,
        metavar="NAME|DIR|URL|ORG/NAME",
        help="a packaged model's name, a model folder, or where to fetch one"
        " (default: %(default)s)",
    )
    add(
        "--compute",
        choices=["auto", "float32", "bfloat16", "int8"],
        help="what the weights are held in: bfloat16 and int8 are faster and"
        " less exact, auto is bfloat16 where the device is fast at it"
        " (default: the model's own)",
    )
    add(
        "--batch-size",
        type=positive,
        metavar="N",
        help="windows that run together, of one file or of several: on a GPU"
        " more is faster, and takes more memory (default: the model's own)",
    )
    add(
        "--threads",
        type=positive,
        metavar="N",
        help="CPU threads (default: PyTorch's choice)",
    )


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Add --device and --precision."""
    add = parser.add_argument
    add(
        "--device",
        default="auto",
        help="cpu, cuda, cuda:1, mps (default: cuda if there is one, else cpu)",
    )
    add(
        "--precision",
        default="fp32",
        choices=["fp32", "fp16", "bf16"],
        help="of the networks' arithmetic (default: %(default)s)",
    )


def non_empty(text: str) -> str:
    """Refuse an empty path, which would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name is not allowed")
    return text


def positive(text: str) -> int:
    """Read a whole number above zero."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number above zero"
        )
    return int(text)


def load_enhancer(args: argparse.Namespace) -> "EnhanceLLaSE":
    """Load the model that the arguments ask for."""
    import torch

    from speechbrain_llase import EnhanceLLaSE

    device = pick_device(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    chosen = {"window_batch": args.batch_size, "compute": args.compute}
    if getattr(args, "guard", False):
        chosen["guard"] = {"enabled": True}
    overrides = {key: value for key, value in chosen.items() if value}
    return EnhanceLLaSE.from_hparams(
        source=args.source,
        run_opts={"device": device, "precision": args.precision},
        overrides=overrides,
    )


def pick_device(name: str) -> str:
    """Choose a device, or refuse one that this machine lacks."""
    import torch

    cudas = torch.cuda.device_count()
    if name == "auto":
        return "cuda" if cudas else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as err:
        raise ValueError(
            f"--device {name} is unknown. Use cpu, cuda or cuda:1, for example."
        ) from err
    if device.type == "cuda" and (device.index or 0) >= cudas:
        raise ValueError(
            f"--device {name} is not here ({cudas} CUDA devices found). Use "
            "another, or leave --device out."
        )
    if device.type not in ("cpu", "cuda", accelerator()):
        raise ValueError(
            f"--device {name} is not here. Use cpu, or leave --device out."
        )
    return name


def accelerator() -> str | None:
    """Type of the accelerator that is here, such as mps; None without one."""
    import torch

    if not torch.accelerator.is_available():
        return None
    return torch.accelerator.current_accelerator().type


def find_model(name: str) -> str:
    """Folder, URL or id of a model; a ValueError for an unknown name."""
    from speechbrain_llase.inference.sources import resolve_source

    return resolve_source(name)


def check_writable(folder: Path) -> None:
    """Make the output folder and try to write in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as err:
        raise ValueError(
            f"--output {folder} cannot be written: {err.strerror}. Choose a "
            "folder that you may write in."
        ) from err


def refuse(reason: str) -> int:
    """Say why nothing was begun; return the exit code."""
    say(f"error: {reason}")
    return 2


def say(line: str) -> None:
    """Print on standard error."""
    print(f"speechbrain-llase: {line}", file=sys.stderr)


def one_line(err: Exception) -> str:
    """Write an error's message, or else its name, in one line."""
    return " ".join(str(err).split()) or type(err).__name__
