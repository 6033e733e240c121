#!/usr/bin/env python3
"""What loading costs: only what enhancement uses, or everything.

    python benchmarks/loading.py --files FOLDER [--json loading.json]

FOLDER gets stand-in files with the official layouts and dimensions, filled
with random values, unless they are there already (8 GB of disk). Then, each in
a process of its own:

imports     the packages alone
everything  what the released code loads: WavLM with 24 layers, all of Xcodec2
            with w2v-BERT and its encoder, LLaMA with vocabulary and head, each
            file read whole
files       from_hparams("llase") on the same files: only what is used
folder      from_hparams of the same files after `speechbrain-llase convert`

Peak memory is the resident set, the pages of mapped files among it. The files
were read before, so their pages are in the system's cache: this measures
copying and building, not the disk.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

WAYS = ("imports", "everything", "files", "folder")
NAMES = {
    "wavlm": "wavlm.bin",
    "lm": "best.pt.tar",
    "codec": "xcodec2.safetensors",
}


def main() -> None:
    """Make the files if needed, measure every way, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--files", required=True, type=Path, help="where the files lie")
    add("--repeat", type=int, default=3, help="runs a way (default: 3)")
    add("--json", type=Path, help="write the figures here too")
    add("--only", choices=("write", "convert", *WAYS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only == "write":
        write_files(args.files)
    elif args.only == "convert":
        write_folder(args.files)
    elif args.only:
        print(json.dumps(measure(args.only, args.files)))
    else:
        report(args)


def report(args: argparse.Namespace) -> None:
    """Run each way in fresh processes; print and write the figures."""
    fresh("write", args.files)
    fresh("convert", args.files)
    figures = {}
    for way in WAYS:
        runs = [json.loads(fresh(way, args.files)) for _ in range(args.repeat)]
        figures[way] = {
            "seconds": round(statistics.median(r["seconds"] for r in runs), 2),
            "peak_gb": round(max(r["peak_gb"] for r in runs), 2),
            "weights_m": runs[0]["weights_m"],
        }
    print(f"{'':<12}{'load':>9}{'peak memory':>14}{'weights':>12}")
    for way, run in figures.items():
        print(
            f"{way:<12}{run['seconds']:>7.2f} s{run['peak_gb']:>11.2f} GB"
            f"{run['weights_m']:>10.1f} M"
        )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


def fresh(way: str, files: Path) -> str:
    """Run this program again for one step; give what it printed last."""
    command = [sys.executable, __file__, "--files", str(files), "--only", way]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout.strip().rpartition("\n")[2]


def measure(way: str, files: Path) -> dict:
    """Load one way: seconds without imports, peak GB, million weights."""
    import_all()
    start = time.perf_counter()
    modules = LOADERS[way](files)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tensors = [p for module in modules for p in module.parameters()]
    return {
        "seconds": seconds,
        "peak_gb": peak * 1024 / 1e9,
        "weights_m": sum(p.numel() for p in tensors) / 1e6,
    }


def import_all() -> None:
    """Import before the clock starts what any way needs."""
    import transformers.models.llama.modeling_llama
    import transformers.models.wavlm.modeling_wavlm
    import transformers.models.xcodec2.modeling_xcodec2  # noqa: F401

    import speechbrain_llase.pretrained.convert  # noqa: F401


def build_everything() -> dict:
    """The networks that the released code builds, at official dimensions."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Xcodec2Config
    from transformers.models.xcodec2.modeling_xcodec2 import Xcodec2Model

    from speechbrain_llase.lobes.token_lm import TokenLM
    from speechbrain_llase.lobes.wavlm_frontend import WavLMFrontend

    wavlm = WavLMFrontend([512] * 7, 1024, 24, 16, 4096, 320, 800)
    token_lm = TokenLM(1024, 1024, 12, 16, 4096)
    token_lm.backbone = None
    llama = LlamaConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=12,
        num_attention_heads=16,
        vocab_size=32000,
    )
    lm = torch.nn.ModuleDict(
        {**dict(token_lm.named_children()), "lm": LlamaForCausalLM(llama)}
    )
    codec = Xcodec2Model(Xcodec2Config())
    return {"wavlm": wavlm, "lm": lm, "codec": codec}


def write_files(folder: Path) -> None:
    """Write the stand-in files that are not there; random values."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if all((folder / name).exists() for name in NAMES.values()):
        return
    with torch.device("meta"):
        networks = build_everything()
    for part, network in networks.items():
        tensors = {
            key: torch.rand(tensor.shape).mul_(0.02)
            for key, tensor in network.state_dict().items()
        }
        unfinished = folder / f"{NAMES[part]}.unfinished"
        if part == "codec":
            save_file(tensors, unfinished)
        elif part == "lm":
            tensors = {f"module.{key}": t for key, t in tensors.items()}
            torch.save({"model_state_dict": tensors}, unfinished)
        else:
            torch.save(tensors, unfinished)
        unfinished.rename(folder / NAMES[part])


def write_folder(files: Path) -> None:
    """Convert the files to bfloat16, unless that is done."""
    from speechbrain_llase.pretrained.convert import convert

    if not (files / "folder").exists():
        paths = {part: files / name for part, name in NAMES.items()}
        convert(paths, files / "folder", "bfloat16")


def load_nothing(files: Path) -> list:
    """The packages alone."""
    return []


def load_everything(files: Path) -> list:
    """Build everything and read every file whole, as the released code."""
    import torch
    from safetensors.torch import load_file

    networks = build_everything()
    for part, network in networks.items():
        path = files / NAMES[part]
        if part == "codec":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        tensors = tensors.get("model_state_dict", tensors)
        network.load_state_dict(
            {key.removeprefix("module."): t for key, t in tensors.items()}
        )
        del tensors
    return list(networks.values())


def load_files(files: Path) -> list:
    """The official files through from_hparams("llase")."""
    from speechbrain_llase import EnhanceLLaSE

    paths = {f"{part}_file": str(files / name) for part, name in NAMES.items()}
    enhancer = EnhanceLLaSE.from_hparams(
        "llase", overrides=paths, run_opts={"device": "cpu"}
    )
    return list(enhancer.mods.values())


def load_folder(files: Path) -> list:
    """The same after conversion to bfloat16."""
    from speechbrain_llase import EnhanceLLaSE

    enhancer = EnhanceLLaSE.from_hparams(
        files / "folder", run_opts={"device": "cpu"}
    )
    return list(enhancer.mods.values())


LOADERS = {
    "imports": load_nothing,
    "everything": load_everything,
    "files": load_files,
    "folder": load_folder,
}

if __name__ == "__main__":
    main()
