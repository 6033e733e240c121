"""Load a model for a device by the words of the command line."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechbrain_llase import EnhanceLLaSE


def load_enhancer(
    source: str,
    device: str = "auto",
    precision: str = "fp32",
    compute: str | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    guard: bool = False,
) -> "EnhanceLLaSE":
    """Load a model; None leaves a setting to the model, or threads to PyTorch.

    `device` may be auto: a CUDA device, if there is one. `batch_size` counts
    the windows that run together; `threads` are for the whole process; `guard`
    switches the model's guard on. A ValueError, if the device is not here or
    the source is unknown.
    """
    import torch

    from speechbrain_llase import EnhanceLLaSE

    device = pick_device(device)
    if threads:
        torch.set_num_threads(threads)
    chosen = {"window_batch": batch_size, "compute": compute}
    if guard:
        chosen["guard"] = {"enabled": True}
    return EnhanceLLaSE.from_hparams(
        source=source,
        run_opts={"device": device, "precision": precision},
        overrides={key: value for key, value in chosen.items() if value},
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
            f"device {name!r} is unknown. Use cpu, cuda or cuda:1, for example."
        ) from err
    if device.type == "cuda" and (device.index or 0) >= cudas:
        raise ValueError(
            f"device {name} is not here ({cudas} CUDA devices found). Use "
            "another, or leave device out."
        )
    if device.type not in ("cpu", "cuda", accelerator()):
        raise ValueError(
            f"device {name} is not here. Use cpu, or leave device out."
        )
    return name


def accelerator() -> str | None:
    """Type of the accelerator that is here, such as mps; None without one."""
    import torch

    if not torch.accelerator.is_available():
        return None
    return torch.accelerator.current_accelerator().type
