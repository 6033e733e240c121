"""Official files -> our modules, strictly.

`layouts.py` knows the names of the published layouts, `tensors.py` reads and
loads. What a file holds beside the weights of a module is passed over where it
is known, and an error where it is not.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial

import torch

from speechbrain_llase.pretrained import layouts
from speechbrain_llase.pretrained.tensors import (
    StoredTensor,
    drop,
    load_strictly,
    open_tensors,
    rename,
)
from speechbrain_llase.pretrained.xcodec2_package import (
    Xcodec2PackageVocoder,
    package_keys,
)

Tensors = dict[str, StoredTensor]

# Buffers in Xcodec2's own files: names, and what the code computes instead.
COMPUTED: list[tuple[str, Callable[[], torch.Tensor]]] = [
    (r"generator\.head\.istft\.window$", lambda: torch.hann_window(1280)),
    (
        r"CodecEnc\..*\.(upsample|downsample\.lowpass)\.filter$",
        lambda: anti_aliasing_filter(),
    ),
]


def load(
    select: Callable[[torch.nn.Module, Tensors], Tensors],
    module: torch.nn.Module,
    path: str,
    ignore: Sequence[str] = (),
) -> None:
    """Load the weights of one network; `load_frontend` and so on are this.

    Arguments
    ---------
    select : callable
        Picks what the module takes of a file, under the module's names.
    module : torch.nn.Module
        What is filled.
    path : str
        The file, whatever its name.
    ignore : sequence of str
        Patterns (``*`` and ``?``) of names in the file that are left out where
        nobody knows them.

    Raises
    ------
    ValueError
        The file is no checkpoint, or its tensors do not fit.
    """
    tensors = select(module, open_tensors(path))
    load_strictly(module, tensors, path, ignore)


def load_weights(module: torch.nn.Module, path: str) -> None:
    """Load a file that holds a module's own keys; as above."""
    load_strictly(module, open_tensors(path), path)


def load_averaged(
    module: torch.nn.Module, path: str, name: str | None = None
) -> None:
    """Load one module out of a training's averaged weights; as above.

    Arguments
    ---------
    module : torch.nn.Module
        What is filled.
    path : str
        An `average.ckpt` of the llase_mini recipe.
    name : str, optional
        The module's name there; None where it holds that one alone.
    """
    prefix = f"module.{name}." if name else "module."
    tensors = {
        key.removeprefix(prefix): tensor
        for key, tensor in open_tensors(path).items()
        if key.startswith(prefix)
    }
    load_strictly(module, tensors, path)


def load_stem(module: torch.nn.Module, path: str) -> None:
    """Load the stem of a `SpectralFrontend` from an averaged codec's encoder.

    The rest of the frontend is left as it is. As above.
    """
    load_averaged(module.stem, path, "encoder.stem")


def frontend_tensors(module: torch.nn.Module, tensors: Tensors) -> Tensors:
    """What WavLMFrontend takes of a file, and what nobody knows."""
    tensors = rename(tensors, layouts.WAVLM_RULES)
    depth = len(module.wavlm.encoder.layers)
    tensors = below(tensors, r"wavlm\.encoder\.", depth)
    return drop(tensors, layouts.WAVLM_IGNORED)


def token_lm_tensors(module: torch.nn.Module, tensors: Tensors) -> Tensors:
    """What TokenLM takes of a file; as above."""
    tensors = rename(tensors, layouts.TOKEN_LM_RULES)
    return drop(tensors, layouts.TOKEN_LM_IGNORED)


def multitask_lm_tensors(module: torch.nn.Module, tensors: Tensors) -> Tensors:
    """What MultitaskLM takes of a file; as above."""
    tensors = rename(tensors, layouts.MULTITASK_LM_RULES)
    return drop(tensors, layouts.MULTITASK_LM_IGNORED)


def vocoder_tensors(module: torch.nn.Module, tensors: Tensors) -> Tensors:
    """What Xcodec2Vocoder, or the package's, takes of a file; as above."""
    check_computed(tensors)
    tensors = rename(tensors, layouts.VOCODER_RULES)
    for key in [k for k in tensors if k.endswith(".att.c_attn.weight")]:
        joined = tensors.pop(key)
        for index, name in enumerate("qkv"):
            renamed = key.replace("att.c_attn", f"self_attn.{name}_proj")
            tensors[renamed] = third(joined, index)
    tensors = drop(tensors, layouts.VOCODER_IGNORED)
    if isinstance(module, Xcodec2PackageVocoder):
        return package_keys(tensors)
    return tensors


def codec_encoder_tensors(module: torch.nn.Module, tensors: Tensors) -> Tensors:
    """What CodecEncoder takes of a file, weight norm folded; as above."""
    check_computed(tensors)
    tensors = rename(tensors, layouts.CODEC_ENCODER_RULES)
    for key in [k for k in tensors if k.endswith(".weight_g")]:
        base = key.removesuffix("_g")
        if f"{base}_v" in tensors:
            tensors[base] = fold(tensors.pop(key), tensors.pop(f"{base}_v"))
    return drop(tensors, layouts.CODEC_ENCODER_IGNORED)


def semantic_tensors(module: torch.nn.Module, tensors: Tensors) -> Tensors:
    """What SemanticEncoder takes of a file; as above."""
    tensors = rename(tensors, layouts.SEMANTIC_RULES)
    depth = len(module.bert.encoder.layers)
    tensors = below(tensors, r"bert\.encoder\.", depth)
    return drop(tensors, layouts.SEMANTIC_IGNORED)


def anti_aliasing_filter() -> torch.Tensor:
    """The filter that Xcodec2's encoder resamples by."""
    from transformers.models.xcodec2 import modeling_xcodec2

    return modeling_xcodec2.Xcodec2UpSample1d().filter


def check_computed(tensors: Tensors) -> None:
    """Compare what Xcodec2's own files store with what the code computes.

    A ValueError if the window or a filter is another: the weights belong to
    another architecture.
    """
    for pattern, compute in COMPUTED:
        for name in filter(re.compile(pattern).match, tensors):
            found = tensors[name].read()
            wanted = compute().to(found.dtype).float()  # as rounded
            if found.shape != wanted.shape or not torch.allclose(
                found.float(), wanted, rtol=0, atol=1e-5
            ):
                raise ValueError(
                    f"{name} is not what Xcodec2 computes: the file is of "
                    "another architecture, and would decode to noise."
                )


def below(tensors: Tensors, encoder: str, depth: int) -> Tensors:
    """Leave out the layers that are not run, from `depth` up."""
    layer = re.compile(encoder + r"layers\.(\d+)\.")
    return {
        key: tensor
        for key, tensor in tensors.items()
        if not ((m := layer.match(key)) and int(m[1]) >= depth)
    }


def third(joined: StoredTensor, index: int) -> StoredTensor:
    """One of three equal parts of a tensor, along its first axis."""
    rows = joined.shape[0] // 3
    return StoredTensor(
        torch.Size([rows, *joined.shape[1:]]),
        lambda: joined.read()[index * rows : (index + 1) * rows],
        joined.names,
    )


def fold(size: StoredTensor, direction: StoredTensor) -> StoredTensor:
    """Fold weight norm: w = g v / |v|, per output channel."""

    def read() -> torch.Tensor:
        v = direction.read()
        return size.read() * v / v.norm(dim=(1, 2), keepdim=True)

    return StoredTensor(direction.shape, read, size.names | direction.names)


# Each takes our own layout, too: (module, path, ignore=()).
load_frontend = partial(load, frontend_tensors)  # Hugging Face's or unilm's
load_token_lm = partial(load, token_lm_tensors)  # the released best.pt.tar
load_multitask_lm = partial(load, multitask_lm_tensors)  # model.pt.tar
load_vocoder = partial(load, vocoder_tensors)  # transformers' or the package's
load_codec_encoder = partial(load, codec_encoder_tensors)  # as above
load_semantic_encoder = partial(load, semantic_tensors)  # alone or in Xcodec2
