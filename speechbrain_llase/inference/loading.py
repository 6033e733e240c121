"""Load a model for a device by the words of the command line; refiners."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from speechbrain_llase import EnhanceLLaSE

ADDED = ("refine", "generative")  # settings that a model's YAML may lack
WITH_REFINER = "llase_mini"  # whose refiner serves all models


def load_enhancer(
    source: str,
    device: str = "auto",
    precision: str = "fp32",
    compute: str | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    guard: bool = False,
    refine: bool | str = False,
    generative: float | None = None,
    task: str = "se",
    passes: int = 1,
    mix: float = 1.0,
) -> "EnhanceLLaSE":
    """Load a model; None leaves a setting to the model, or threads to PyTorch.

    `device` may be auto: a CUDA device, if there is one. `batch_size` counts
    the windows that run together; `threads` are for the whole process; `guard`
    switches the model's guard on. `refine` is True or the source of a model
    whose refiner is taken; `generative` is the refiner's knob, 0 to 1; `task`
    and `passes` are those of `LLaSEG1`; `mix` is the share of what is enhanced.
    A ValueError, if the device is not here, the source is unknown, or the model
    has not this task.
    """
    import torch

    from speechbrain_llase import EnhanceLLaSE, LLaSEG1

    device = pick_device(device)
    if threads:
        torch.set_num_threads(threads)
    chosen = {"window_batch": batch_size, "compute": compute}
    if guard:
        chosen["guard"] = {"enabled": True}
    if refine:
        chosen["refine"] = refine
    is_plain = (task, passes) == ("se", 1)
    enhancer = (EnhanceLLaSE if is_plain else LLaSEG1).from_hparams(
        source=source,
        run_opts={"device": device, "precision": precision},
        overrides={key: value for key, value in chosen.items() if value}
        | ({} if generative is None else {"generative": generative}),
    )
    if not is_plain:
        enhancer = enhancer.doing(task, passes=passes)
    return enhancer if mix == 1 else enhancer.having(mix=mix)


def part_overrides(overrides: dict | str | None) -> dict[str, dict | str]:
    """Part overrides from those settings, added, that a YAML may lack."""
    if not isinstance(overrides, dict):
        return {"overrides": overrides or {}, "added": {}}
    added = {key: overrides[key] for key in ADDED if key in overrides}
    rest = {key: x for key, x in overrides.items() if key not in added}
    return {"overrides": rest, "added": added}


def with_refiner(
    modules: dict[str, "torch.nn.Module"], hparams: dict[str, Any]
) -> dict[str, "torch.nn.Module"]:
    """Give a model the refiner that its `refine` asks for.

    That is True, for that of the packaged llase_mini (of a model that has
    one, its own), or the source of another model with a refiner.
    """
    source = hparams.get("refine", False)
    if not source or (source is True and "refiner" in modules):
        return modules
    compute = hparams.get("compute", "float32")
    return modules | {"refiner": load_refiner(source, compute)}


def offer_refiner(enhancer: "EnhanceLLaSE") -> None:
    """Give a loaded model a refiner that is off until `refine` is True.

    One that has a refiner, or can have none, stays as it is.
    """
    if "refiner" in enhancer.mods or enhancer.stages.joined:
        return
    refiner = load_refiner(compute=enhancer.computes_in)
    refiner.to(enhancer.device).eval().requires_grad_(False)
    enhancer.mods["refiner"] = refiner
    enhancer.stages = enhancer.stages.having(refine=False)
    enhancer.hparams = enhancer.stages.hparams


def offer_tasks(enhancer: "EnhanceLLaSE") -> None:
    """Let the stages of a loaded model have any task, if its LM has several."""
    from speechbrain_llase.inference.multitask import MultitaskStages
    from speechbrain_llase.lobes.multitask_lm import MultitaskLM

    own = enhancer.stages
    if isinstance(own.mods["token_lm"], MultitaskLM) and not own.joined:
        run = own.device, own.inference_ctx, own.fuses, own.graphs
        enhancer.stages = MultitaskStages(own.mods, own.hparams, *run)


def load_refiner(
    source: bool | str | Path = True, compute: str = "float32"
) -> "torch.nn.Module":
    """Load the refiner of a model: of the packaged one, or of a folder."""
    from hyperpyyaml import load_hyperpyyaml

    from speechbrain_llase.inference.sources import resolve_source

    folder = Path(resolve_source(WITH_REFINER if source is True else source))
    yaml = (folder / "hyperparams.yaml").read_text("utf-8")
    networks = re.findall(r"^(\w+): !new:speechbrain_llase\.lobes", yaml, re.M)
    if "refiner" not in networks:
        raise ValueError(
            f"{source} has no refiner. Pass True, or the folder of a model "
            "that has one."
        )
    others = dict.fromkeys(x for x in networks if x != "refiner")  # not built
    hparams = load_hyperpyyaml(yaml, {"compute": compute, **others})
    refiner, pretrainer = hparams["refiner"], hparams["pretrainer"]
    pretrainer.loadables = {"refiner": refiner}
    pretrainer.collect_files(default_source=str(folder))
    pretrainer.load_collected()
    return refiner


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
