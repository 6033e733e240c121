"""Synthetic data and a tiny model for the recipes, laid out as they expect."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml
from safetensors.torch import save_file
from speechbrain.utils.checkpoints import Checkpointer

from speechbrain_llase.lobes.multitask_lm import MultitaskLM
from speechbrain_llase.lobes.wavlm_frontend import WavLMFrontend
from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder
from speechbrain_llase.pretrained.convert import write_weights
from speechbrain_llase.pretrained.model_yaml import write_yaml

RATE = 16000
FRONTEND = {
    "conv_dim": [8] * 7,
    "hidden_size": 32,
    "num_layers": 1,
    "num_heads": 2,
    "ffn_size": 64,
}
MINI_FRONTEND = {"num_mels": 20, "num_blocks": 1} | {
    key: value for key, value in FRONTEND.items() if key != "conv_dim"
}
TOKEN_LM = {
    "input_size": 32,
    "d_model": 32,
    "num_layers": 2,
    "num_heads": 2,
    "ffn_size": 64,
    "head": "digits",
    "dropout": 0.0,
}
VOCODER = {
    "hidden_size": 32,
    "num_layers": 1,
    "num_heads": 2,
    "quantization_dim": 40,
    "ffn_size": 64,
}
G1 = {  # networks of LLaSE-G1
    "frontend": FRONTEND
    | {"num_buckets": 320, "max_distance": 800, "zero_row": False},
    "token_lm": {k: v for k, v in TOKEN_LM.items() if k != "head"}
    | {"d_model": 16},
    "vocoder": VOCODER,
}
ENCODER = {"num_mels": 20, "width": 16, "num_blocks": 1}
TINY = {"frontend": FRONTEND, "token_lm": TOKEN_LM, "vocoder": VOCODER}
PACKAGED = Path(__file__).parents[2] / "hparams/llase_mini"


def tiny_dims(mini: bool) -> dict[str, dict]:
    """The dimensions of the networks; `mini` with a spectral frontend."""
    return TINY | {"frontend": MINI_FRONTEND if mini else FRONTEND}


def tiny_flags(mini: bool = False, g1: bool = False, **token_lm) -> list[str]:
    """The dimensions of the tiny model, for a recipe's command line."""
    tiny = G1 if g1 else tiny_dims(mini)
    tiny = tiny | {"token_lm": tiny["token_lm"] | token_lm}
    return [f"--{name}={json.dumps(dims)}" for name, dims in tiny.items()]


def write_model(folder: Path, mini: bool = False) -> Path:
    """A folder with random weights and a codec, the same in every folder.

    It is like that of llase_mini; unless it is `mini`, with the frontend of
    the released model.
    """
    folder.mkdir(parents=True)
    dims = tiny_dims(mini) | {"encoder": ENCODER}
    for file in ("hyperparams.yaml", "codec.yaml"):
        torch.manual_seed(0)
        text = (PACKAGED / file).read_text(encoding="utf-8")
        if not mini:
            text = text.replace(
                "spectral_frontend.SpectralFrontend\n    num_mels: 80\n"
                "    num_blocks: 5\n",
                "wavlm_frontend.WavLMFrontend\n",
            )
            text = text.replace(
                "frontend: !name:speechbrain_llase.pretrained.loading.load_weights",
                "frontend: !name:speechbrain_llase.pretrained.loading.load_frontend",
            )
        hparams = load_hyperpyyaml(
            text, {k: v for k, v in dims.items() if f"\n{k}: !new" in text}
        )
        for name, network in hparams["modules"].items():
            save_file(
                {k: v.contiguous() for k, v in network.state_dict().items()},
                folder / f"{name}.ckpt",
            )
        for name, values in dims.items():
            head, found, rest = text.partition(f"\n{name}: !new:")
            if not found:
                continue
            first, _, rest = rest.partition("\n")
            kept = rest.split("\n")
            while kept and kept[0].startswith("    "):
                key, value = kept.pop(0).strip().split(":", 1)
                values = {key: value.split("#")[0].strip()} | values
            lines = [f"    {k}: {v}" for k, v in values.items()]
            text = "\n".join([head + found + first, *lines, *kept])
        (folder / file).write_text(text, encoding="utf-8")
    return folder


def write_g1(folder: Path, like: Path) -> Path:
    """LLaSE-G1 with random weights, and the codec of another model folder."""
    folder.mkdir()
    torch.manual_seed(0)
    kinds = WavLMFrontend, MultitaskLM, Xcodec2Vocoder
    networks = {
        name: (kind(**dims), dims)
        for kind, (name, dims) in zip(kinds, G1.items(), strict=True)
    }
    write_weights(networks, folder, "float32")
    write_yaml(networks, folder)
    for name in ("codec.yaml", "encoder.ckpt"):
        shutil.copy(like / name, folder)
    return folder


def speech(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Bursts of a gliding harmonic tone."""
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = rng.uniform(90, 220) * (1 + 0.2 * np.sin(rng.uniform(2, 6) * time))
    phase = 2 * np.pi * pitch.cumsum() / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 12))
    wave = 0.1 * tone * (0.3 + np.sin(rng.uniform(4, 9) * time).clip(0))
    return wave.astype(np.float32)


def write(path: Path, wave: np.ndarray) -> None:
    """Write one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE)


def write_folders(folder: Path, clips: int = 8) -> None:
    """`clean`, `noise` and `rir`, as the Folders recipe wants them."""
    rng = np.random.default_rng(0)
    for k in range(clips):
        write(folder / f"clean/train/{k}.wav", speech(rng, 0.8 + 0.2 * (k % 3)))
    for k in range(2):
        write(folder / f"clean/valid/{k}.wav", speech(rng, 0.8))
        noise = 0.1 * rng.standard_normal(RATE)
        write(folder / f"noise/train/{k}.wav", noise)
        write(folder / f"noise/valid/{k}.wav", noise[::-1])
    decay = rng.standard_normal(2000) * np.exp(-np.arange(2000) / 200)
    write(folder / "rir/r.wav", 0.3 * decay)


def write_voicebank(folder: Path) -> None:
    """The folders of the stock Voicebank recipe; p226 and p287 validate."""
    rng = np.random.default_rng(1)
    names = {
        "trainset_28spk": [f"{p}_00{k}" for p in ("p226", "p287") for k in "1"]
        + [f"{p}_00{k}" for p in ("p227", "p228") for k in "123"],
        "testset": ["p232_001", "p257_001"],
    }
    for part, clips in names.items():
        for name in clips:
            clean = speech(rng, 0.8)
            noise = 0.02 * rng.standard_normal(len(clean))
            write(folder / f"clean_{part}_wav_16k/{name}.wav", clean)
            write(folder / f"noisy_{part}_wav_16k/{name}.wav", clean + noise)
            text = folder / f"{part}_txt" / f"{name}.txt"
            text.parent.mkdir(exist_ok=True)
            text.write_text("Please call Stella.\n")


def write_librimix(folder: Path) -> None:
    """Three sets of Libri2Mix."""
    rng = np.random.default_rng(3)
    for part, clips in (("train-100", 4), ("dev", 1), ("test", 1)):
        for k in range(clips):
            voices = [speech(rng, 0.8) * gain for gain in (0.5, 1)]
            names = dict(zip(("s1", "s2"), voices, strict=True))
            names["mix_clean"] = sum(voices)
            for name, wave in names.items():
                write(folder / part / name / f"1-2-{k}_3-4-{k}.wav", wave)


def write_dns_shards(folder: Path) -> None:
    """Synthesised shards as SpeechBrain's DNS recipe writes them."""
    rng = np.random.default_rng(2)
    for part, shards, samples in (("train", 2, 3), ("valid", 1, 2)):
        place = folder / f"{part}_shards" / "read_speech"
        place.mkdir(parents=True)
        keys = []
        for number in range(shards):
            with tarfile.open(place / f"shard-{number:06d}.tar", "w") as tar:
                for k in range(samples):
                    keys.append(f"{part}_fileid_{number}_{k}")
                    add_sample(tar, keys[-1], rng)
        meta = {
            "language_id": ["read"],
            "sample_keys_per_language": {"read": keys},
            "num_data_samples": len(keys),
        }
        (place / "meta.json").write_text(json.dumps(meta))


def add_sample(tar: tarfile.TarFile, key: str, rng) -> None:
    """One sample with the members of the stock recipe."""
    clean = torch.from_numpy(speech(rng, 0.8))
    noise = 0.02 * torch.from_numpy(rng.standard_normal(len(clean)))
    waves = {
        "clean_audio": clean,
        "noise_audio": noise.float(),
        "noisy_audio": clean + noise.float(),
    }
    members = {
        f"{key}.{kind}": b"book_001.wav"
        for kind in ("noisy_file", "clean_file", "noise_file")
    }
    for kind, wave in waves.items():
        buffer = io.BytesIO()
        torch.save(wave, buffer)
        members[f"{key}.{kind}.pth"] = buffer.getvalue()
    for name, content in members.items():
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def read(path: Path) -> torch.Tensor:
    """Read one file (T,)."""
    return torch.from_numpy(soundfile.read(path, dtype="float32")[0])


def last_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint of a run, by the time inside it.

    Names do not tell: of those of one second, a later one may take the number
    of one that was deleted.
    """
    found = Checkpointer(run / "save").find_checkpoint()
    return found and found.path
