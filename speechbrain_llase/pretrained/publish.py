"""A training's best weights -> a model folder that `from_hparams` loads.

Low-rank updates are merged into the weights. The folder is written beside its
place, read back and compared, and only then moved there.
"""

import io
import json
import re
import shutil
from pathlib import Path

import torch
import yaml
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.pretrained.convert import (
    ENHANCING,
    check_output,
    compare,
    new_folder,
    write_about,
    write_weights,
)
from speechbrain_llase.pretrained.model_card import (
    CUSTOM,
    with_header,
    write_card,
)
from speechbrain_llase.pretrained.model_yaml import without_refiner
from speechbrain_llase.pretrained.publish_refiner import (
    REFINER,
    publish_refiner,
    trains_refiner,
)

ENTRIES = (*ENHANCING, "fine_tuned", "pretrainer", "base")  # of a run's YAML
KEPT = ("codec.yaml", "encoder.ckpt")  # of the base, if there


def publish(
    source: Path,
    output: Path,
    dtype: str = "float16",
    share: float = 1.0,
    keep_refiner: bool = False,
) -> dict:
    """Write a model folder out of a training; give what manifest.json says.

    Of a run's output folder the checkpoint of lowest validation loss is taken;
    a CKPT+ folder is taken as it is. The YAML of the run is loaded, which runs
    what it says: publish your own runs. `share`, above 0 and at most 1, says
    how far to go from the base's token LM to the trained one: a half often
    keeps most of what was learned and little of what was forgotten (WiSE-FT,
    Wortsman et al., arXiv:2109.01903). Loss and accuracy in the manifest are
    those of the checkpoint, whatever the share. `keep_refiner` keeps a refiner
    of the base, which was trained on what the base's token LM says: measure it.
    A run that trained a refiner gives the base with that refiner.

    A FileNotFoundError if there is no checkpoint, a FileExistsError if the
    output holds something, a ValueError if the checkpoint does not fit the
    run's YAML, the weights the dtype, or the share the run.
    """
    if not 0 < share <= 1:
        raise ValueError(
            f"A share of {share} lies not between the base's weights and the "
            "trained ones; give one above 0 and at most 1."
        )
    check_output(output)
    checkpoint = find_checkpoint(source)
    run = read_run_yaml(checkpoint)
    if trains_refiner(run):
        return publish_refiner(checkpoint, run, output, dtype, share)
    networks, lm, base = load_run(checkpoint, share)
    with new_folder(output) as folder:
        write_weights(networks, folder, dtype)
        text = (base / "hyperparams.yaml").read_text(encoding="utf-8")
        text = with_header(with_lm(text, *lm), folder.name, base)
        text = text if keep_refiner else without_refiner(text)
        (folder / "hyperparams.yaml").write_text(text, encoding="utf-8")
        (folder / "custom.py").write_text(CUSTOM, encoding="utf-8")
        kept = (*KEPT, REFINER) if keep_refiner else KEPT
        for name in kept:
            if (base / name).is_file():
                shutil.copy(base / name, folder)
        about = describe_training(checkpoint, base, share)
        manifest = write_about(folder, dtype, about)
        refines = keep_refiner if (base / REFINER).is_file() else None
        write_card(folder, manifest, base, refines)
        compare(networks, folder, dtype)
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


def read_run_yaml(checkpoint: Path) -> dict:
    """Read the YAML of a checkpoint's run, without building what it names."""
    file = checkpoint.parents[1] / "hyperparams.yaml"
    return YAML(typ="rt").load(file.read_text(encoding="utf-8"))


def load_run(
    checkpoint: Path, share: float
) -> tuple[dict, tuple[str, dict], Path]:
    """Build the networks of a run and load what a CKPT+ folder of it holds.

    Gives the networks as `convert.write_weights` takes them, class and
    dimensions of the token LM by the run's YAML, and the model folder that the
    run began with.
    """
    file = checkpoint.parents[1] / "hyperparams.yaml"
    tree = read_run_yaml(checkpoint)
    missing = [key for key in ENTRIES if key not in tree]
    if missing:
        raise ValueError(
            f"{file} has no {', '.join(missing)}; it is of no recipe that "
            "fine-tunes a token LM."
        )
    text = io.StringIO()
    YAML(typ="rt").dump({key: tree[key] for key in ENTRIES}, text)
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
    modules = {name: hparams[name] for name in ENHANCING}
    modules["token_lm"] = fine_tuned.merged()
    trained = modules["token_lm"].state_dict()
    for name, weight in began.items():
        trained[name].copy_(weight.lerp(trained[name], share))
    networks = {name: (module.eval(), None) for name, module in modules.items()}
    lm = tree["token_lm"]
    return networks, (lm.tag.value, dict(lm)), base


def with_lm(text: str, kind: str, dims: dict) -> str:
    """Put a token LM's class and dimensions into a model's YAML."""
    lines = [f"token_lm: {kind}"]
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


def describe_training(checkpoint: Path, base: Path, share: float) -> dict:
    """Say where the weights come from."""
    sources = {}
    if (base / "manifest.json").is_file():
        about = json.loads((base / "manifest.json").read_text("utf-8"))
        sources = about.get("sources", {})
    remembered = torch.load(checkpoint / "tokenizer.ckpt", weights_only=True)
    state = yaml.safe_load((checkpoint / "CKPT.yaml").read_text("utf-8"))
    kept = [x for x in ("epoch", "loss", "token_accuracy") if x in state]
    training = {f"checkpoint_{key}": state[key] for key in kept}
    return {
        "base": base.name,
        "tokenizer": remembered["tokenizer"],
        "training": {**training, "share": share},
        "sources": sources,
    }
