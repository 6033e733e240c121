"""Official files -> one slim folder that loads offline.

The folder holds hyperparams.yaml, one safetensors file a module under the
name that SpeechBrain's Pretrainer looks for, and a manifest. It is written
beside its place, read back and compared, and only then moved there.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from speechbrain_llase import EnhanceLLaSE, __version__
from speechbrain_llase.lobes.multitask_lm import MultitaskLM
from speechbrain_llase.lobes.token_lm import TokenLM
from speechbrain_llase.lobes.wavlm_frontend import WavLMFrontend
from speechbrain_llase.lobes.xcodec2_tokenizer import (
    CodecEncoder,
    SemanticEncoder,
    load_tokenizer,
)
from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder
from speechbrain_llase.pretrained import loading
from speechbrain_llase.pretrained.dimensions import (
    is_multitask,
    network_dimensions,
    read_config,
)
from speechbrain_llase.pretrained.model_yaml import write_yaml
from speechbrain_llase.pretrained.official import DTYPES, LAYER, LICENCES
from speechbrain_llase.pretrained.tensors import (
    load_strictly,
    open_tensors,
    read_tensors,
)

ENHANCING = ("frontend", "token_lm", "vocoder")  # the others are for training
NETWORKS = {  # name -> its file, its class, what it takes of the file
    "frontend": ("wavlm", WavLMFrontend, loading.frontend_tensors),
    "token_lm": ("lm", TokenLM, loading.token_lm_tensors),
    "vocoder": ("codec", Xcodec2Vocoder, loading.vocoder_tensors),
    "semantic_encoder": ("w2v_bert", SemanticEncoder, loading.semantic_tensors),
    "codec_encoder": ("codec", CodecEncoder, loading.codec_encoder_tensors),
}
MULTITASK = ("lm", MultitaskLM, loading.multitask_lm_tensors)  # token_lm of G1


def convert(
    files: dict[str, Path],
    output: Path,
    dtype: str = "bfloat16",
    lm_heads: int | None = None,
    codec_heads: int | None = None,
    layer: int = LAYER,
    ignore: Sequence[str] = (),
) -> dict:
    """Write a model folder from official files; give what manifest.json says.

    `files` are `wavlm`, `lm` and `codec`, and `w2v_bert` for the encoding half
    too, in any published layout. Attention heads are 16 at the official widths
    and required at others, `layer` is WavLM's whose output the LM hears,
    `ignore` has patterns (``*`` and ``?``) of names in the files that are left
    out where nobody knows them.

    A ValueError if a file does not fit, or a weight the dtype; a
    FileExistsError if the output holds something; an OSError if a file cannot
    be read or written. Nothing is left at the output then.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r}; choose one of {', '.join(DTYPES)}.")
    with new_folder(output) as folder:
        networks = build(files, lm_heads, codec_heads, layer, ignore)
        write_weights(networks, folder, dtype)
        write_yaml(networks, folder)
        dims = {name: about for name, (_, about) in networks.items()}
        sources = describe_sources(files, networks["token_lm"][0])
        about = {"sources": sources, "dimensions": dims}
        manifest = write_about(folder, dtype, about)
        compare(networks, folder, dtype)
    return manifest


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Yield a folder that takes the place of the output if nothing fails.

    A FileExistsError if the output holds something.
    """
    output = Path(output).resolve()  # a link is followed, not replaced
    check_output(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{output.name}.", dir=output.parent
    ) as scratch:
        folder = Path(scratch) / output.name
        folder.mkdir()
        yield folder
        if output.exists():
            output.rmdir()
        os.replace(folder, output)


def check_output(output: Path) -> None:
    """Refuse a folder that holds something, or a file in its place."""
    if output.parent.exists() and not output.parent.is_dir():
        raise FileExistsError(
            f"{output.parent} is a file; name another place for the folder."
        )
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise FileExistsError(
            f"{output} is there already; name a new or an empty folder."
        )


def build(
    files: dict[str, Path],
    lm_heads: int | None,
    codec_heads: int | None,
    layer: int,
    ignore: Sequence[str],
) -> dict[str, tuple[torch.nn.Module, dict]]:
    """Build and load every network: name -> (module, its dimensions)."""
    path = {part: str(file) for part, file in files.items()}
    opened = {part: open_tensors(file) for part, file in path.items()}
    config = read_config(path["wavlm"])
    wanted, networks = networks_with(opened.get("lm", {})), {}
    for name, (part, kind, select) in wanted.items():
        if part in files and (name in ENHANCING or "w2v_bert" in files):
            heads = lm_heads, codec_heads
            dims = network_dimensions(name, opened[part], config, *heads, layer)
            module = kind(**dims)
            tensors = select(module, opened[part])
            load_strictly(module, tensors, path[part], ignore)
            networks[name] = (module, dims)
    return networks


def networks_with(lm: dict) -> dict[str, tuple]:
    """The networks of the model whose LM's file has these tensors."""
    own = {"token_lm": MULTITASK} if is_multitask(lm) else {}
    return {**NETWORKS, **own}


def cast(tensor: torch.Tensor, dtype: str, key: str) -> torch.Tensor:
    """Bring a weight to a dtype; a ValueError if it does not fit."""
    if not tensor.is_floating_point():
        return tensor.contiguous()
    smaller = tensor.to(getattr(torch, dtype)).contiguous()
    if not smaller.isfinite().all():
        raise ValueError(
            f"{key} has values that {dtype} cannot hold, or that are not "
            "finite; choose bfloat16 or float32."
        )
    return smaller


def write_weights(networks: dict, folder: Path, dtype: str) -> None:
    """Write one safetensors file a network."""
    for name, (module, _) in networks.items():
        tensors = {
            key: cast(tensor, dtype, f"{name}: {key}").clone()
            for key, tensor in module.state_dict().items()
        }
        path = folder / f"{name}.ckpt"
        path.touch()
        mode = path.stat().st_mode  # save_file's own lets nobody else read
        try:
            save_file(tensors, path, {"format": "pt"})
        except SafetensorError as err:  # its name for a full disk
            raise OSError(f"{path} cannot be written: {err}") from err
        path.chmod(mode)


def describe_sources(
    files: dict[str, Path], token_lm: torch.nn.Module
) -> dict[str, dict]:
    """Say where the weights come from, and under which licences."""
    licences = dict(LICENCES)
    if isinstance(token_lm, MultitaskLM):
        licences["lm"] = licences["multitask_lm"]
    return {
        part: {
            "file": Path(file).name,
            **describe_file(Path(file)),
            "licence": licences[part],
        }
        for part, file in files.items()
    }


def describe_file(path: Path) -> dict:
    """Size and checksum."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def write_about(folder: Path, dtype: str, about: dict) -> dict:
    """Write manifest.json: versions, what is said of the weights, the files."""
    packages = ("torch", "transformers", "speechbrain", "safetensors")
    manifest = {
        "speechbrain_llase": __version__,
        "versions": {name: metadata.version(name) for name in packages},
        "dtype": dtype,
        **about,
        "files": {p.name: describe_file(p) for p in sorted(folder.iterdir())},
    }
    text = json.dumps(manifest, indent=2) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    return manifest


def sha256(path: Path) -> str:
    """Checksum of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare(networks: dict, folder: Path, dtype: str) -> None:
    """Read every tensor back, then load the folder as a user would."""
    for name, (module, _) in networks.items():
        stored = read_tensors(str(folder / f"{name}.ckpt"))
        expected = module.state_dict()
        for key in expected.keys() | stored.keys():
            if not (
                key in stored
                and key in expected
                and torch.equal(stored[key], cast(expected[key], dtype, key))
            ):
                raise ValueError(f"{name}: {key} was not written correctly.")
    EnhanceLLaSE.from_hparams(folder, run_opts={"device": "cpu"})
    if "semantic_encoder" in networks:
        load_tokenizer(str(folder))
