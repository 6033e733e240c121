#!/usr/bin/env python3
"""Write a trained llase_mini as a folder that `from_hparams` loads.

To run this step, do the following:
> python publish.py --checkpoint CKPT --output FOLDER

CKPT is a CKPT+ folder below the results of train_token_lm.py; the averaged
weights of its modules are taken, what was not trained there comes from the
files that run started from. Of several runs that started from the same weights,
the mean of theirs is taken (Wortsman et al., arXiv:2203.05482). `--decoder`
takes the averaged decoder of another run of the same codec, and `--mend-bins`
takes out bins of it that hum. `--refiner` adds the averaged weights of
train_spectral_refiner.py, which heard the folder that was written without it.
A CKPT+ folder of train_jointly.py holds all: give it for both. Everything is
read back and compared.
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import torch
from hyperpyyaml import load_hyperpyyaml
from safetensors.torch import save_file

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.lobes.mel_codec import load_codec
from speechbrain_llase.pretrained.loading import load_averaged
from speechbrain_llase.pretrained.tensors import read_tensors

TEMPLATES = Path(__file__).parent / "published"
LAYOUT = {  # template -> networks that it needs, and plain values
    "hyperparams.yaml": ["frontend", "token_lm", "vocoder"],
    "codec.yaml": ["codec_level_db", "encoder", "vocoder"],
}
FIRST_BIN = 150  # 1.9 kHz; below, neighbours differ with the harmonics
STRAY = 0.35  # distance of a bin's weights from the nearest of four beside it
NETWORKS = ["frontend", "token_lm", "vocoder", "encoder"]


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Write a trained llase_mini as a model folder."
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=Path,
        nargs="+",
        metavar="CKPT",
        help="a CKPT+ folder of train_token_lm.py; of several, the mean",
    )
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument(
        "--decoder",
        type=Path,
        metavar="CKPT",
        help="a CKPT+ folder of train_codec.py, for its decoder",
    )
    parser.add_argument(
        "--mend-bins",
        action="store_true",
        help="give bins above 1.9 kHz that stray the weights of their neighbours",
    )
    parser.add_argument(
        "--refiner",
        type=Path,
        metavar="CKPT",
        help="a CKPT+ folder of train_spectral_refiner.py",
    )
    parser.add_argument(
        "--dtype", default="float16", choices=["float16", "bfloat16", "float32"]
    )
    return parser.parse_args(argv)


def trained_modules(
    checkpoints: list[Path], decoder: Path | None
) -> dict[str, torch.nn.Module]:
    """Build the networks of runs and load the mean of their final weights."""
    runs = [run_modules(checkpoint) for checkpoint in checkpoints]
    modules = runs[0]
    for name, module in modules.items():
        states = [run[name].state_dict() for run in runs]
        module.load_state_dict(mean_state(name, states))
    if decoder is not None:
        refuse_other_tokens(modules["encoder"], decoder / "average.ckpt")
        load_averaged(modules["vocoder"], decoder / "average.ckpt", "vocoder")
    return modules


def run_modules(checkpoint: Path) -> dict[str, torch.nn.Module]:
    """Build the networks of a run and load their final weights."""
    with open(run_yaml(checkpoint)) as fin:
        hparams = load_hyperpyyaml(fin)
    hparams["pretrainer"].collect_files()
    hparams["pretrainer"].load_collected()
    averaged = checkpoint / "lm_average.ckpt"  # of a joint run
    if not averaged.is_file():
        averaged = checkpoint / "average.ckpt"
    names = {key.split(".")[1] for key in read_tensors(averaged) if "." in key}
    for name in names & set(NETWORKS):
        load_averaged(hparams[name], averaged, name)
    return {name: hparams[name] for name in NETWORKS}


def mean_state(
    name: str, states: list[dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """Average the weights of one network over runs."""
    first = states[0]
    for state in states[1:]:
        shapes = [{k: t.shape for k, t in s.items()} for s in (first, state)]
        alike = shapes[0] == shapes[1]
        if alike and name == "encoder":  # which says what the tokens are
            alike = all(torch.equal(first[key], state[key]) for key in first)
        if not alike:
            raise ValueError(
                f"The {name} of one run does not fit that of another; give "
                "runs of one codec that started from the same checkpoint."
            )
    return {
        key: torch.stack([s[key] for s in states]).mean(0)
        if tensor.is_floating_point()
        else tensor
        for key, tensor in first.items()
    }


def refuse_other_tokens(encoder: torch.nn.Module, path: Path) -> None:
    """Refuse a decoder whose run had another encoder: other tokens."""
    theirs, prefix = read_tensors(path), "module.encoder."
    if not all(
        torch.equal(theirs.get(prefix + key, torch.tensor(())), tensor)
        for key, tensor in encoder.state_dict().items()
    ):
        raise ValueError(
            f"{path} does not hold the encoder that the token LM learned "
            "from; give a decoder that was trained on from the same codec."
        )


@torch.no_grad()
def mend_bins(vocoder: torch.nn.Module) -> list[int]:
    """Interpolate the head's weights of bins that are unlike those beside them.

    A loss of the envelope can be met by one strong bin in a band, which then
    hums. Returns the bins that were mended.
    """
    linear = vocoder.decoder.head.linear
    last = len(linear.weight) // 2 - 1
    weight, bias = linear.weight.clone(), linear.bias.clone()

    def strays(k):
        beside = [j for j in (k - 2, k - 1, k + 1, k + 2) if j <= last]
        distance = (weight[beside] - weight[k]).norm(dim=1).min()
        return distance > STRAY * weight[k].norm()

    stray = [k for k in range(FIRST_BIN, last) if strays(k)]
    sound = [k for k in range(FIRST_BIN - 1, last + 1) if k not in stray]
    for k in stray:
        low = max(j for j in sound if j < k)
        high = min(j for j in sound if j > k)
        part = (k - low) / (high - low)
        linear.weight[k] = torch.lerp(weight[low], weight[high], part)
        linear.bias[k] = torch.lerp(bias[low], bias[high], part)
    return stray


def blocks(yaml: str, keys: list[str]) -> str:
    """Cut top-level entries out of a resolved YAML, without its anchors."""
    found = []
    for key in keys:
        block = re.search(rf"^{key}:.*\n(?: .*\n|\n)*", yaml, re.MULTILINE)
        if block is None:
            raise ValueError(f"The training's YAML has no key {key}.")
        text = re.sub(r"&id\d+ ", "", block[0]).rstrip() + "\n"
        text = re.sub(r"\n\s*\n", "\n", text)
        text = re.sub(r"(?<=\S)  +#", "  #", text)
        found.append(re.sub(r"^  (?=\w)", "    ", text, flags=re.MULTILINE))
    return "".join(found)


def run_yaml(checkpoint: Path) -> Path:
    """Find the resolved YAML of a checkpoint's run."""
    return checkpoint.parents[1] / "hyperparams.yaml"


def trained_refiner(checkpoint: Path) -> dict[str, torch.nn.Module]:
    """The refiner of a run, averaged, and the judges that it learned from."""
    with open(run_yaml(checkpoint)) as fin:
        hparams = load_hyperpyyaml(fin)
    refiner, adversary = hparams["refiner"], hparams["adversary"]
    load_averaged(refiner, checkpoint / "average.ckpt")
    adversary.load_state_dict(read_tensors(checkpoint / "adversary.ckpt"))
    return {"refiner": refiner, "adversary": adversary}


def write_folder(
    modules: dict[str, torch.nn.Module], yaml: str, folder: Path, dtype: str
) -> None:
    """Write weights (safetensors) and YAML files."""
    for name, module in modules.items():
        tensors = {
            key: (t.to(getattr(torch, dtype)) if t.is_floating_point() else t)
            .clone()
            .contiguous()
            for key, t in module.state_dict().items()
        }
        save_file(tensors, folder / f"{name}.ckpt", {"format": "pt"})
    for template, keys in LAYOUT.items():
        text = (TEMPLATES / template).read_text()
        if "refiner" not in modules:
            lines = r"^(?:    +refiner|generative): .*\n"
            text = re.sub(lines, "", text, flags=re.MULTILINE)
        text += blocks(yaml, keys)
        if template == "hyperparams.yaml":
            if "refiner" in modules:
                text += blocks(yaml, ["refiner"])
            networks = (
                r"(^(?:frontend|token_lm|vocoder|refiner): .*\n(?:    .*\n)+)"
            )
            line = r"\1    compute: !ref <compute>\n"
            text = re.sub(networks, line, text, flags=re.MULTILINE)
        (folder / template).write_text(text)


def check_folder(
    modules: dict[str, torch.nn.Module], folder: Path, dtype: str
) -> None:
    """Load the folder as a user would; compare every tensor written."""
    EnhanceLLaSE.from_hparams(folder, run_opts={"device": "cpu"})
    load_codec(str(folder))
    for name, module in modules.items():
        written = read_tensors(folder / f"{name}.ckpt")
        state = module.state_dict()
        if written.keys() != state.keys():
            raise ValueError(f"{name}: the file has other keys.")
        for key, tensor in state.items():
            if tensor.is_floating_point():
                tensor = tensor.to(getattr(torch, dtype))
            if not torch.equal(written[key], tensor):
                raise ValueError(f"{name}: {key} was not written correctly.")


def main(argv: list[str]) -> None:
    """Write beside the output, check, then move into place."""
    args = parse_arguments(argv)
    modules = trained_modules(args.checkpoint, args.decoder)
    if args.mend_bins:
        mended = mend_bins(modules["vocoder"])
        print(f"Bins mended: {', '.join(map(str, mended)) or 'none'}.")
    yaml = run_yaml(args.checkpoint[0]).read_text()
    if args.refiner:
        modules |= trained_refiner(args.refiner)
        yaml += run_yaml(args.refiner).read_text()
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.output.parent) as scratch:
        folder = Path(scratch)
        write_folder(modules, yaml, folder, args.dtype)
        check_folder(modules, folder, args.dtype)
        for file in sorted(folder.iterdir()):
            if not file.is_symlink():
                os.chmod(file, 0o644)
                os.replace(file, args.output / file.name)
    for name in sorted(modules):
        size = (args.output / f"{name}.ckpt").stat().st_size
        print(f"{args.output / name}.ckpt: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
