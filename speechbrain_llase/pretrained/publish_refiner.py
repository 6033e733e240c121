"""A refiner's training -> a model folder: the base's with the new refiner."""

import io
import shutil
from pathlib import Path

import torch
import yaml
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.pretrained.convert import (
    compare,
    new_folder,
    write_about,
    write_weights,
)
from speechbrain_llase.pretrained.loading import load_averaged, load_weights
from speechbrain_llase.pretrained.model_card import (
    CUSTOM,
    with_header,
    write_card,
)

REFINER = "refiner.ckpt"
ITS_OWN = ("README.md", "MODEL_CARD.md", "manifest.json", "custom.py")


def trains_refiner(run: dict) -> bool:
    """Whether a run's YAML, as read, is of a refiner alone."""
    return "refiner" in run and "fine_tuned" not in run


def publish_refiner(
    checkpoint: Path, run: dict, output: Path, dtype: str, share: float
) -> dict:
    """Write the base of a run with the refiner that the run trained.

    Arguments
    ---------
    checkpoint : Path
        A CKPT+ folder; its averaged weights are taken.
    run : dict
        The YAML of the run, as it was read: base and refiner.
    output : Path
        A new folder.
    dtype : str
        Of the refiner's weights; those of the others stay as they are.
    share : float
        Above 0, at most 1: how far to go from the base's refiner.

    Returns
    -------
    manifest : dict
        What manifest.json says.

    Raises
    ------
    ValueError
        The base has no refiner, or one of other dimensions.
    """
    base = Path(str(resolve_source(run["base"])))
    if not (base / REFINER).is_file():
        raise ValueError(
            f"{base} has no {REFINER}, so none can take its place."
        )
    text = io.StringIO()
    YAML(typ="rt").dump({"refiner": run["refiner"]}, text)
    refiner = load_hyperpyyaml(text.getvalue())["refiner"]
    load_weights(refiner, str(base / REFINER))
    began = {k: x.clone() for k, x in refiner.state_dict().items()}
    load_averaged(refiner, str(checkpoint / "average.ckpt"))
    for key, weight in refiner.state_dict().items():
        if weight.is_floating_point():
            torch.lerp(began[key], weight, share, out=weight)
    networks = {"refiner": (refiner.eval(), None)}
    with new_folder(output) as folder:
        for file in base.iterdir():
            if file.is_file() and file.name not in ITS_OWN:
                shutil.copy(file, folder)
        write_weights(networks, folder, dtype)
        yaml_file = folder / "hyperparams.yaml"
        text = with_header(yaml_file.read_text("utf-8"), output.name, base)
        yaml_file.write_text(text, encoding="utf-8")
        (folder / "custom.py").write_text(CUSTOM, encoding="utf-8")
        manifest = write_about(
            folder, dtype, describe_refiner(checkpoint, base, share)
        )
        write_card(folder, manifest, base, trained="refiner")
        compare(networks, folder, dtype)
    return manifest


def describe_refiner(checkpoint: Path, base: Path, share: float) -> dict:
    """Say where the weights come from."""
    state = yaml.safe_load((checkpoint / "CKPT.yaml").read_text("utf-8"))
    training = {f"checkpoint_{k}": state[k] for k in ("loss",) if k in state}
    return {"base": base.name, "training": {**training, "share": share}}
