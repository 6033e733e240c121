"""A training's best weights -> a model folder that `from_hparams` loads.

Low-rank updates are merged into the weights. The folder is written beside its
place, read back and compared, and only then moved there.
"""

import io
import json
import os
import re
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

import torch
import yaml
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from speechbrain_llase import __version__
from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.pretrained.convert import compare, sha256, write_weights

NETWORKS = ("frontend", "token_lm", "vocoder")
NEEDED = (*NETWORKS, "fine_tuned", "pretrainer", "base")  # of a run's YAML
KEPT = ("codec.yaml", "encoder.ckpt", "refiner.ckpt")  # of the base, if there
PACKAGES = ("torch", "transformers", "speechbrain", "safetensors")


def publish(
    source: Path, output: Path, dtype: str = "float16", share: float = 1.0
) -> dict:
    """Write a model folder out of a training.

    The YAML of the run is loaded, which runs what it says: publish your own
    runs.

    Arguments
    ---------
    source : Path
        The output folder of a run, whose checkpoint of lowest validation loss
        is taken, or one CKPT+ folder.
    output : Path
        The folder; it must not exist, or be empty.
    dtype : str
        Of the weights written.
    share : float
        How far to go from the base's token LM to the trained one, above 0
        and at most 1: a half often keeps most of what was learned and little
        of what was forgotten (WiSE-FT, Wortsman et al., arXiv:2109.01903).

    Returns
    -------
    manifest : dict
        What manifest.json says; loss and accuracy in it are those of the
        checkpoint, whatever the share.

    Raises
    ------
    FileNotFoundError
        There is no checkpoint.
    FileExistsError
        The output holds something.
    ValueError
        The checkpoint does not fit the run's YAML, or the weights the dtype;
        the share is impossible, or the run did not begin with the base's LM.
    """
    if not 0 < share <= 1:
        raise ValueError(
            f"A share of {share} lies not between the base's weights and the "
            "trained ones; give one above 0 and at most 1."
        )
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise FileExistsError(
            f"{output} is there already; name a new or an empty folder."
        )
    checkpoint = find_checkpoint(source)
    networks, dims, base = load_run(checkpoint, share)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{output.name}.", dir=output.parent
    ) as scratch:
        folder = Path(scratch) / output.name
        folder.mkdir()
        write_weights(networks, folder, dtype)
        text = (base / "hyperparams.yaml").read_text(encoding="utf-8")
        text = with_lm(text, dims)
        (folder / "hyperparams.yaml").write_text(text, encoding="utf-8")
        for name in KEPT:
            if (base / name).is_file():
                shutil.copy(base / name, folder)
        manifest = describe(checkpoint, base, folder, dtype)
        manifest["training"]["share"] = share
        text = json.dumps(manifest, indent=2) + "\n"
        (folder / "manifest.json").write_text(text, encoding="utf-8")
        compare(networks, folder, dtype)
        if output.exists():
            output.rmdir()
        os.replace(folder, output)
    return manifest


def find_checkpoint(source: Path) -> Path:
    """Find the checkpoint of lowest validation loss, or take the one named."""
    if (source / "CKPT.yaml").is_file():
        return source
    losses = {}
    for file in source.glob("save/CKPT+*/CKPT.yaml"):
        loss = yaml.safe_load(file.read_text(encoding="utf-8")).get("loss")
        if loss is not None:
            losses[file.parent] = loss
    if not losses:
        raise FileNotFoundError(
            f"There is no checkpoint of a whole epoch in {source}; name the "
            "output_folder of a run of train.py, or a CKPT+ folder in it."
        )
    return min(sorted(losses), key=losses.get)


def load_run(checkpoint: Path, share: float) -> tuple[dict, dict, Path]:
    """Build the networks of a run and load what it learned.

    Arguments
    ---------
    checkpoint : Path
        A CKPT+ folder in `save` of a run's output folder.
    share : float
        See `publish`.

    Returns
    -------
    networks : dict
        Name -> (module, None), in the form of `convert.write_weights`.
    dims : dict
        What the run's YAML says of the token LM.
    base : Path
        The model folder that the run began with.
    """
    loader = YAML(typ="rt")
    file = checkpoint.parents[1] / "hyperparams.yaml"
    tree = loader.load(file.read_text(encoding="utf-8"))
    missing = [key for key in NEEDED if key not in tree]
    if missing:
        raise ValueError(
            f"{file} has no {', '.join(missing)}; it is of no recipe that "
            "fine-tunes a token LM."
        )
    text = io.StringIO()
    loader.dump({key: tree[key] for key in NEEDED}, text)
    hparams = load_hyperpyyaml(text.getvalue())
    base = Path(str(resolve_source(hparams["base"])))
    yaml_file = base / "hyperparams.yaml"
    if "_file>" in yaml_file.read_text(encoding="utf-8"):
        raise ValueError(
            f"{base} names files on hubs; convert or download it first and "
            "name that folder as the base."
        )
    if share < 1 and "token_lm" not in hparams["pretrainer"].loadables:
        raise ValueError(
            f"The run of {file} began from nothing, so there is no way from "
            f"the base's token LM to go a share of {share}; leave out --share."
        )
    hparams["pretrainer"].collect_files(default_source=str(base))
    hparams["pretrainer"].load_collected()
    weights = hparams["token_lm"].state_dict() if share < 1 else {}
    began = {name: weight.clone() for name, weight in weights.items()}
    fine_tuned = hparams["fine_tuned"].adapt()
    fine_tuned.loader(checkpoint / "token_lm.ckpt")
    modules = {name: hparams[name] for name in NETWORKS}
    modules["token_lm"] = fine_tuned.merged()
    trained = modules["token_lm"].state_dict()
    for name, weight in began.items():
        trained[name].copy_(weight.lerp(trained[name], share))
    networks = {name: (module.eval(), None) for name, module in modules.items()}
    return networks, dict(tree["token_lm"]), base


def with_lm(text: str, dims: dict) -> str:
    """Put a token LM's dimensions into a model's YAML."""
    lines = ["token_lm: !new:speechbrain_llase.lobes.token_lm.TokenLM"]
    lines += [f"    {key}: {value}" for key, value in dims.items()]
    if re.search(r"^compute:", text, re.MULTILINE):
        lines.append("    compute: !ref <compute>")
    block = re.compile(r"^token_lm: !new:.*\n(?:    .*\n)+", re.MULTILINE)
    text, count = block.subn("\n".join(lines) + "\n", text)
    if count != 1:
        raise ValueError(
            f"The base's hyperparams.yaml has {count} entries token_lm; one "
            "is needed, with its dimensions below it."
        )
    return text


def describe(checkpoint: Path, base: Path, folder: Path, dtype: str) -> dict:
    """Say where the weights come from and what was written."""
    about = {}
    if (base / "manifest.json").is_file():
        about = json.loads((base / "manifest.json").read_text("utf-8"))
    remembered = torch.load(checkpoint / "tokenizer.ckpt", weights_only=True)
    state = yaml.safe_load((checkpoint / "CKPT.yaml").read_text("utf-8"))
    return {
        "speechbrain_llase": __version__,
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "dtype": dtype,
        "base": base.name,
        "tokenizer": remembered["tokenizer"],
        "training": {
            f"checkpoint_{key}": state[key]
            for key in ("epoch", "loss", "token_accuracy")
            if key in state
        },
        "sources": about.get("sources", {}),
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
            for path in sorted(folder.iterdir())
        },
    }
