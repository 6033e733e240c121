#!/usr/bin/env python3
"""A second input for llase_mini: a small model of several tasks, to be trained.

To run this script, do the following:
> python start_tasks.py --clean SPEECH BASE
> python train.py BASE/finetune.yaml --base=BASE --data_folder=DATA \
>     --task="[se, plc, aec, tse, ss]"

SPEECH is a folder of utterances, of which some are heard. BASE becomes a model
folder with a two-input token LM that does as well at enhancement as
llase_mini's, and hears nothing of a reference before it is trained; and the
settings of a training that fit it.

The LM's backbone stays as it is, in other coordinates: a rotation, which changes
no output, turns what the mixture says into the half of the input that belongs
to the mixture. The first layer, norm and all, becomes a linear one by least
squares.
"""

import argparse
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.augment.noise_mixer import NoiseMixer
from speechbrain_llase.dataio.audio_checks import check_entries
from speechbrain_llase.dataio.manifests import list_folder
from speechbrain_llase.dataio.recordings import read_speech
from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.lobes.multitask_lm import MULTITASK_HEADS
from speechbrain_llase.lobes.token_lm import TokenLM, sinusoid
from speechbrain_llase.nnet.layers import project
from speechbrain_llase.pretrained.model_yaml import without_refiner
from speechbrain_llase.processing.framing import SAMPLE_RATE
from speechbrain_llase.processing.signal_processing import to_peak

SEED, HEARD, LONGEST = 2026, 150, 4 * SAMPLE_RATE  # utterances, samples of each
NETWORKS = re.compile(r"^frontend: !new.*?(?=^modules:)", re.M | re.S)
COPIED = ("frontend.ckpt", "vocoder.ckpt", "encoder.ckpt", "codec.yaml")
READS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")


def main(arguments: list[str] | None = None) -> int:
    """Write the model folder and the settings; 0, as a script returns."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clean", type=Path, required=True, help="speech")
    parser.add_argument("output", type=Path, help="the new model folder")
    args = parser.parse_args(arguments)
    if args.output.exists():
        parser.error(f"{args.output} is there already; name a new folder")
    model = EnhanceLLaSE.from_hparams(
        "llase_mini", run_opts={"device": "cpu"}, overrides={"hears": "peak"}
    )
    speech = check_entries(list_folder(args.clean), SAMPLE_RATE, most_bad=0.0)
    paths = [entry["clean_wav"] for entry in speech.values()]
    feats = [model.stages.extract([x])[0] for x in draw_noisy(paths)]
    weights = with_second_input(model.mods.token_lm, feats)
    args.output.mkdir(parents=True)
    save_file(weights, args.output / "token_lm.ckpt")
    source = Path(str(resolve_source("llase_mini")))
    for name in COPIED:
        shutil.copy(source / name, args.output)
    write_settings(source / "hyperparams.yaml", args.output)
    return 0


def draw_noisy(paths: list[str]) -> list[torch.Tensor]:
    """Mix some utterances with synthesised noise: (T,) each, peaks at 1."""
    rng = np.random.default_rng(SEED)
    mixer = NoiseMixer([], [], synthetic_prob=1.0, snr_db=(0.0, 30.0))
    chosen = rng.permutation(sorted(paths))[:HEARD]
    clean = [read_speech(path, SAMPLE_RATE)[1][:LONGEST] for path in chosen]
    return [to_peak(mixer(wav, rng).noisy) for wav in clean]


@torch.no_grad()
def with_second_input(
    lm: TokenLM, feats: list[torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Give the weights of a `MultitaskLM` that enhances as a `TokenLM` does.

    Features are (N, D_in) each. Widths of both backbones are the same, so each
    input has half of it.
    """
    inputs = torch.cat([first_layer(lm, x) for x in feats]).double()
    heard = torch.cat(feats).double()
    heard = torch.cat((heard, torch.ones_like(heard[:, :1])), 1)
    fitted = torch.linalg.lstsq(heard, inputs).solution  # (D_in + 1, D)
    likely = torch.cov((heard @ fitted).T)
    turn = torch.linalg.eigh(likely).eigenvectors  # columns: least power first
    half = turn.shape[0] // 2
    heard_y = (fitted @ turn)[:, half:].T
    made = {
        "audio_linear_x.weight": torch.zeros_like(heard_y[:, :-1]),
        "audio_linear_x.bias": (inputs.mean(0) @ turn)[:half],
        "audio_linear_y.weight": heard_y[:, :-1],
        "audio_linear_y.bias": heard_y[:, -1],
    } | turned_backbone(lm, turn)
    norm = lm.backbone.norm.weight.double()
    for name in MULTITASK_HEADS:
        head = lm.predict_layer
        made[f"predict_layer_{name}.weight"] = head.weight * norm @ turn
        made[f"predict_layer_{name}.bias"] = head.bias.clone()
    return {name: x.float().contiguous() for name, x in made.items()}


def first_layer(lm: TokenLM, feats: torch.Tensor) -> torch.Tensor:
    """What the backbone is given of features (N, D_in): (N, D)."""
    hidden = project(lm.audio_linear, feats).float()
    hidden = hidden + sinusoid(*hidden.shape)
    return lm.stage_norm(hidden, lm.stage_embedding.weight[0])


def turned_backbone(lm: TokenLM, turn: torch.Tensor) -> dict[str, torch.Tensor]:
    """Turn a backbone's residual stream by a rotation (D, D).

    Scales of the norms, which no rotation keeps, go into the layers that read
    what is normed.
    """
    made = {}
    for name, weight in lm.backbone.state_dict().items():
        layer, kind = name.split(".")[:2], name.split(".")[-2]
        weight = weight.double()
        if weight.dim() == 1:
            made[name] = torch.ones_like(weight)
        elif kind in READS:
            own = lm.backbone.get_submodule(".".join(layer))
            attends = "self_attn" in name
            norm = (
                own.input_layernorm if attends else own.post_attention_layernorm
            )
            made[name] = weight * norm.weight.double() @ turn
        else:
            made[name] = turn.T @ weight
    return {f"backbone.{name}": weight for name, weight in made.items()}


def write_settings(source: Path, folder: Path) -> None:
    """Write the model's YAML, and that of its training, with its networks."""
    text = without_refiner(source.read_text("utf-8"))
    text = re.sub(r"^ +refiner: .*\n", "", text, flags=re.MULTILINE)
    text = text.replace("hears: speech", "hears: peak")
    text = text.replace("load_token_lm", "load_multitask_lm")
    (folder / "hyperparams.yaml").write_text(two_inputs(text), "utf-8")
    hparams = Path(__file__).parent / "hparams"
    mini = two_inputs((hparams / "finetune_mini.yaml").read_text("utf-8"))
    text = (hparams / "finetune_g1.yaml").read_text("utf-8")
    text = NETWORKS.sub(lambda _: NETWORKS.search(mini)[0], text)
    text = text.replace("loading.load_frontend", "loading.load_weights")
    (folder / "finetune.yaml").write_text(text, "utf-8")


def two_inputs(text: str) -> str:
    """Give the token LM of a YAML a second input, at the same width."""
    text = text.replace("token_lm.TokenLM", "multitask_lm.MultitaskLM")
    return re.sub(
        r"d_model: (\d+)", lambda found: f"d_model: {int(found[1]) // 2}", text
    )


if __name__ == "__main__":
    raise SystemExit(main())
