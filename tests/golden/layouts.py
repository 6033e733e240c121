"""The stand-in weights in every published layout, with all that surrounds them.

stand_in.py writes unilm's WavLM, the LM, Xcodec2's own two files and w2v-BERT;
here are the other official files, of the same weights, and what may lie in the
training checkpoints beside weights. tests/pretrained/test_layouts.py compares
their keys with those of transformers' own classes.
"""

import argparse
import collections
import datetime
import enum
import functools
import pathlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from speechbrain_llase.pretrained.convert import build
from speechbrain_llase.pretrained.tensors import open_tensors

WAVLM = ["WavLM-Large.pt", "pytorch_model.bin"]
CODEC = ["xcodec2.ckpt", "xcodec2-hf.safetensors", "xcodec2.safetensors"]
SAVED_AGAIN = "xcodec2-again.safetensors"  # by a newer version of the package
ON_HUB = {  # where the official ones are, and what stands in for them
    "microsoft/wavlm-large/pytorch_model.bin": "pytorch_model.bin",
    "BeauKang01/LLaSE/best.pt.tar": "best.pt.tar",
    "HKUSTAudio/xcodec2-hf/model.safetensors": "xcodec2-hf.safetensors",
    "HKUSTAudio/xcodec2/model.safetensors": "xcodec2.safetensors",
    "HKUSTAudio/xcodec2/ckpt/epoch=4-step=1400000.ckpt": "xcodec2.ckpt",
    "facebook/w2v-bert-2.0/model.safetensors": "w2v_bert.safetensors",
}


def write_layouts(folder: Path, spec: dict) -> None:
    """Complete what stand_in.py wrote for a case.

    Arguments
    ---------
    folder : Path
        Where its files are.
    spec : dict
        The case.
    """
    write_transformers(folder, spec)
    write_package(folder)
    write_lm(folder)


def write_package(folder: Path) -> None:
    """Write Xcodec2's own files again, with w2v-BERT and a configuration."""
    bert = {
        f"semantic_model.{key}": tensor
        for key, tensor in load_file(folder / "w2v_bert.safetensors").items()
    }
    package = load_file(folder / CODEC[2])
    package.pop("semantic_model.encoder.layers.0.a.weight")
    save_file(package | bert, folder / CODEC[2])
    save_file(saved_again(package | bert), folder / SAVED_AGAIN)
    with torch.serialization.safe_globals([argparse.Namespace]):
        training = torch.load(folder / CODEC[0], weights_only=True)
    training["state_dict"] |= bert
    with strange_modules():
        training["hyper_parameters"] = strays()["omegaconf"]
        torch.save(training, folder / CODEC[0])


def write_lm(folder: Path) -> None:
    """Write the LM again, with Adam's moments and what else may be there."""
    lm = torch.load(folder / "best.pt.tar", weights_only=True)
    lm["optim_state_dict"] = adam(lm["model_state_dict"])
    with strange_modules():
        torch.save(lm | strays(), folder / "best.pt.tar")


def write_transformers(folder: Path, spec: dict) -> None:
    """Write the files that have transformers' names."""
    files = {
        "wavlm": folder / WAVLM[0],
        "codec": folder / "xcodec2.ckpt",
        "w2v_bert": folder / "w2v_bert.safetensors",
    }
    heads, depth = (
        spec["decoder_cfg"]["heads"],
        spec["wavlm_cfg"]["encoder_layers"],
    )
    modules = {
        name: module
        for name, (module, _) in build(files, None, heads, depth, ()).items()
    }
    wavlm = hugging_face_wavlm(modules["frontend"], files["wavlm"])
    torch.save(wavlm, folder / WAVLM[1])
    codec = transformers_xcodec2(modules, files["w2v_bert"])
    save_file(codec, folder / CODEC[1], {"format": "pt"})


def hugging_face_wavlm(module, path: Path) -> dict[str, torch.Tensor]:
    """Keys of microsoft/wavlm-large, weight norm in its old form."""
    tensors = own_keys(module, "wavlm.", "")
    conv = "encoder.pos_conv_embed.conv."
    for number, letter in enumerate("gv"):
        original = f"{conv}parametrizations.weight.original{number}"
        tensors[f"{conv}weight_{letter}"] = tensors.pop(original)
    unilm = open_tensors(str(path))
    tensors["masked_spec_embed"] = unilm["mask_emb"].read()
    for name in ("weight", "bias"):
        key = f"encoder.layer_norm.{name}"
        tensors[key] = unilm[key].read()
    return tensors


def transformers_xcodec2(modules: dict, bert: Path) -> dict[str, torch.Tensor]:
    """Keys of HKUSTAudio/xcodec2-hf: both halves and w2v-BERT."""
    tensors = {
        **own_keys(modules["vocoder"], "decoder.", "acoustic_decoder."),
        **own_keys(modules["codec_encoder"], "", ""),
        **own_keys(modules["semantic_encoder"], "bert.", "semantic_encoder."),
    }
    key = "masked_spec_embed"
    tensors[f"semantic_encoder.{key}"] = open_tensors(str(bert))[key].read()
    for side in ("in", "out"):
        for name in ("weight", "bias"):
            key = f"project_{side}.{name}"
            tensors[f"quantizer.{key}"] = tensors.pop(key)
    return tensors


def saved_again(tensors: dict) -> dict[str, torch.Tensor]:
    """The package's keys as its newer versions write them."""
    new = {".act.beta": ".act.bias"}
    for number, letter in enumerate("gv"):
        original = f".parametrizations.weight.original{number}"
        new[f".weight_{letter}"] = original
    renamed = {}
    for key, tensor in tensors.items():
        for old, other in new.items():
            if key.startswith("CodecEnc.") and key.endswith(old):
                key = key.removesuffix(old) + other
        renamed[key] = tensor
    return renamed


def own_keys(
    module: torch.nn.Module, prefix: str, replacement: str
) -> dict[str, torch.Tensor]:
    """A module's tensors, with another prefix."""
    return {
        replacement + key.removeprefix(prefix)
        if key.startswith(prefix)
        else key: tensor
        for key, tensor in module.state_dict().items()
    }


def adam(weights: dict) -> dict:
    """Adam's moments of all that is trained: twice the size of the weights."""
    trained = [k for k in weights if "lm_head" not in k and "embed_" not in k]
    state = {
        index: {
            "step": torch.tensor(1.0),
            "exp_avg": torch.zeros_like(weights[key]),
            "exp_avg_sq": torch.zeros_like(weights[key]),
        }
        for index, key in enumerate(trained)
    }
    return {"state": state, "param_groups": [{"lr": np.float64(1e-4)}]}


class Phase(enum.Enum):
    """Stands for a training's own classes."""

    TRAINING = 1


@contextmanager
def strange_modules() -> Iterator[None]:
    """Packages that wrote an object and that its reader does not have."""
    names = ("omegaconf", "omegaconf.dictconfig", "easydict")
    modules = {name: types.ModuleType(name) for name in names}
    for name, kind, base in (
        ("omegaconf.dictconfig", "DictConfig", object),
        ("easydict", "EasyDict", dict),
    ):
        setattr(modules[name], kind, type(kind, (base,), {"__module__": name}))
    with mock.patch.dict(sys.modules, modules):
        yield


def strays() -> dict[str, object]:
    """What training code leaves in checkpoints; within strange_modules."""
    config = sys.modules["omegaconf.dictconfig"].DictConfig()
    config._content = {"lr": 1e-4, "_parent": config}
    easy = sys.modules["easydict"].EasyDict(lr=1e-4)
    easy.lr = 1e-4
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    return {
        "args": argparse.Namespace(lr=1e-4, names=["a"]),
        "omegaconf": config,
        "easydict": easy,
        "best_loss": np.float32(0.5),
        "losses": np.arange(4.0),
        "history": collections.defaultdict(list, {"loss": [np.float64(1)]}),
        "path": pathlib.Path("exp/best"),
        "saved": datetime.datetime(2025, 1, 1),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1),
        "criterion": torch.nn.CrossEntropyLoss(),
        "phase": Phase.TRAINING,
        "collate": functools.partial(max, 1),
        "rng": np.random.RandomState(0).get_state(),
    }
