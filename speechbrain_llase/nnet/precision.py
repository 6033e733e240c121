"""What the networks compute in, and what their weights are held in.

`compute` in a model's YAML is one of

- `float32`: exact.
- `bfloat16`: the large matrices, half the memory. Norms, the residual stream
  and the few small layers that decide (digits, magnitudes and phases) stay in
  float32.
- `int8`: the matrices of the transformers, one scale per row; the others as in
  bfloat16. For CPUs.
- `auto`: bfloat16 where the device multiplies it fast, else float32.

A network that is loaded is built in that form at once, without random
weights and without a float32 copy.
"""

import ctypes
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from speechbrain.utils.distributed import infer_device
from speechbrain.utils.logger import get_logger
from torch.overrides import TorchFunctionMode

from speechbrain_llase.nnet.int8 import Int8Linear
from speechbrain_llase.nnet.packed_linear import PackedLinear

logger = get_logger(__name__)
COMPUTES = ("auto", "float32", "bfloat16", "int8")
LEAST_WIDTH = 64  # narrower layers stay in float32: nothing is gained there


@dataclass(frozen=True)
class Loading:
    """What a model is being loaded for."""

    device: str  # where it will run
    compute: str | None  # what the caller asks for, over the YAML's word
    learns: bool  # so its layers stay as they are


_loading: ContextVar[Loading | None] = ContextVar("loading", default=None)


@contextmanager
def loading(
    device: str, compute: str | None = None, learns: bool = False
) -> Iterator[None]:
    """Build networks for weights that are about to be read.

    `auto` depends on the device where they will run; `compute` overrides what
    the YAML says. PyTorch's default dtype is float32 meanwhile. On a CPU, a
    network that does not learn is finished once it is read, before the next
    one takes memory.
    """
    token = _loading.set(Loading(device, compute, learns))
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        _loading.reset(token)


def loading_for(
    run_opts: dict | Namespace | None, freeze: bool
) -> AbstractContextManager:
    """Build networks as SpeechBrain's run options ask for.

    Those have device, as SpeechBrain would choose it if it is left out, and
    precision, of which "bf16" means bfloat16. Networks that learn (not
    `freeze`) are float32.
    """
    options = run_opts or {}
    options = options if isinstance(options, dict) else vars(options)
    wanted = "bfloat16" if options.get("precision") == "bf16" else None
    device = options.get("device") or infer_device()
    return loading(device, wanted if freeze else "float32", not freeze)


def own_precision(device: str | torch.device) -> AbstractContextManager:
    """Leave the autocast that a caller runs under, if there is one."""
    kind = torch.device(device).type
    if not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


class NoRandomWeights(TorchFunctionMode):
    """Leave what torch.nn.init would draw as the memory holds it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return function(*args, **kwargs)


def weights_to_come() -> AbstractContextManager:
    """Leave out random initialisation while a model is loaded."""
    return NoRandomWeights() if _loading.get() else nullcontext()


def hold_weights(
    network: torch.nn.Module, compute: str, exact: tuple[str, ...] = ()
) -> str:
    """Hold the large matrices of a new network in a lower precision.

    Its Linear and Conv1d layers are converted, int8 ones to bfloat16 first
    (`finish` makes them int8, once they are read); the layers named by `exact`
    stay in float32. `compute` is one of `COMPUTES`, else a ValueError; gives
    what it is now: float32, bfloat16 or int8.
    """
    now = _loading.get()
    if now:
        compute = choose(now.compute or compute, now.device)
    else:
        compute = choose(compute, "cpu")
    network.awaits_weights = now is not None
    network.register_load_state_dict_post_hook(filled)
    if compute != "float32":
        for name, layer in network.named_modules():
            if is_large(layer) and name not in exact:
                if network.awaits_weights:
                    make_room(layer)
                layer.to(torch.bfloat16)
    return compute


def make_room(layer: torch.nn.Module) -> None:
    """Replace empty weights by such in bfloat16; no memory is touched."""
    for name, weight in list(layer.named_parameters(recurse=False)):
        room = torch.empty_like(weight, dtype=torch.bfloat16)
        setattr(layer, name, torch.nn.Parameter(room, weight.requires_grad))


def choose(compute: str, device: str) -> str:
    """Turn `auto` into what the device is fast at, or check another word."""
    if compute not in COMPUTES:
        raise ValueError(
            f"compute={compute!r} is not known; choose one of "
            f"{', '.join(COMPUTES)}."
        )
    if compute == "int8" and torch.device(device).type != "cpu":
        raise ValueError(
            f"compute=int8 is for the CPU, and the device is {device}; "
            "choose bfloat16 or auto."
        )
    if compute == "int8" and not torch.backends.mkldnn.is_available():
        raise ValueError(
            "compute=int8 needs a PyTorch with oneDNN, as on x86; choose "
            "float32 or auto."
        )
    if compute != "auto":
        return compute
    return "bfloat16" if has_fast_bfloat16(device) else "float32"


def has_fast_bfloat16(device: str) -> bool:
    """Tell whether a device has instructions for bfloat16 products."""
    kind = torch.device(device).type
    if kind == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        return major >= 8
    if kind != "cpu":
        return False
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)


def is_large(layer: torch.nn.Module) -> bool:
    """Tell whether a layer's weights are worth a lower precision."""
    if not isinstance(layer, torch.nn.Linear | torch.nn.Conv1d):
        return False
    if hasattr(layer, "parametrizations"):  # weight norm: see `finish`
        return False
    weight = layer.weight
    return min(weight.shape[0], weight[0].numel()) >= LEAST_WIDTH


def filled(network: torch.nn.Module, _: object = None) -> None:
    """Note that a network's weights have been read.

    A hook of `load_state_dict`, too, which gives the keys that did not fit.
    """
    network.awaits_weights = False
    now = _loading.get()
    if now and not now.learns and torch.device(now.device).type == "cpu":
        finish(network)


def refuse_empty(network: torch.nn.Module) -> None:
    """Raise a ValueError for a network that was built to be read, and is not.

    Its weights are whatever the memory held.
    """
    if getattr(network, "awaits_weights", False):
        raise ValueError(
            f"{type(network).__name__} has no weights: name it under "
            "`loadables` of the YAML's pretrainer."
        )


@torch.no_grad()
def finish(network: torch.nn.Module) -> None:
    """Make a network that is read, and will not be trained, ready to run.

    Weight norm is folded, int8 matrices are quantised, and those in bfloat16
    are packed where a CPU multiplies them.
    """
    compute = getattr(network, "compute", "float32")
    for layer in list(network.modules()):
        if hasattr(layer, "parametrizations"):
            fold_weight_norm(layer, compute)
        if isinstance(layer, torch.nn.Conv1d):
            lay_channels_last(layer)
    if compute == "int8":
        replace_linears(network, Int8Linear)
    elif has_fast_bfloat16("cpu") and torch.backends.mkldnn.is_available():
        replace_linears(network, PackedLinear)


def give_back() -> None:
    """Return freed memory to the system, where the C library holds it back.

    glibc does, for later: what was replaced would lie beside what replaced it.
    """
    if trim := getattr(ctypes.pythonapi, "malloc_trim", None):
        trim(0)


def fold_weight_norm(layer: torch.nn.Module, compute: str) -> None:
    """Replace a parametrised weight by its value.

    What would read such a weight in its older form goes, too: it has nothing
    to do any more, and cannot be pickled.
    """
    for name in list(layer.parametrizations):
        torch.nn.utils.parametrize.remove_parametrizations(layer, name)
    layer._load_state_dict_pre_hooks.clear()
    if compute != "float32" and is_large(layer):
        layer.to(torch.bfloat16)


def lay_channels_last(conv: torch.nn.Conv1d) -> None:
    """Hold a convolution's weights as `convolve` reads them."""
    image = conv.weight.unsqueeze(2)
    image = image.contiguous(memory_format=torch.channels_last)
    conv.weight.data = image.squeeze(2)


def replace_linears(network: torch.nn.Module, kind: type) -> None:
    """Replace the transformers' Linear layers in bfloat16 on the CPU.

    One by one, and nothing holds those that were replaced: memory never has
    all in both forms.
    """
    places = [
        (parent, name)
        for path, parent in network.named_modules()
        for name, layer in parent.named_children()
        if isinstance(layer, torch.nn.Linear) and ".layers." in path
    ]
    for parent, name in places:
        layer = getattr(parent, name)
        held = layer.weight.dtype, layer.weight.device.type
        if held == (torch.bfloat16, "cpu"):
            setattr(parent, name, kind(layer))
            del layer
            give_back()


def make_ready(
    mods: Mapping[str, torch.nn.Module], names: list[str], freeze: bool
) -> str:
    """Refuse what lacks networks or weights; finish what does not learn.

    `names` are the networks that a loaded model must have. Gives what the
    weights are held in; several words with commas between.
    """
    missing = [name for name in names if name not in mods]
    if missing:
        raise ValueError(
            f"The model has no module {', '.join(missing)}; its modules "
            f"must be named {', '.join(names)}."
        )
    for name in names:
        refuse_empty(mods[name])
        if freeze:
            finish(mods[name])
    held = {m.compute for m in mods.values() if hasattr(m, "compute")}
    computes_in = ", ".join(sorted(held or {"float32"}))
    logger.info("Weights are held in %s.", computes_in)
    return computes_in
