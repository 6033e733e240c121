"""The stand-in weights in every published layout.

stand_in.py writes unilm's WavLM, the LM and Xcodec2's training checkpoint;
here are the other forms of the same weights. tests/pretrained/test_layouts.py
compares their keys with those of transformers' own classes.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from speechbrain_llase.lobes.wavlm_frontend import WavLMFrontend
from speechbrain_llase.lobes.xcodec2_tokenizer import (
    CodecEncoder,
    SemanticEncoder,
)
from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder
from speechbrain_llase.pretrained.loading import (
    load_codec_encoder,
    load_frontend,
    load_semantic_encoder,
    load_vocoder,
)
from speechbrain_llase.pretrained.tensors import read_tensors

CASE = json.loads((Path(__file__).parent / "tiny.json").read_text())
WAVLM = ["WavLM-Large.pt", "pytorch_model.bin", "wavlm.safetensors"]
CODEC = ["xcodec2.ckpt", "xcodec2-hf.safetensors", "xcodec2.safetensors"]


def write_layouts(stand_in: Path) -> None:
    """Write the other layouts beside the stand-in files."""
    wavlm = hugging_face_wavlm(stand_in / "WavLM-Large.pt")
    torch.save(wavlm, stand_in / "pytorch_model.bin")
    save_file(wavlm, stand_in / "wavlm.safetensors")
    codec, bert = stand_in / "xcodec2.ckpt", stand_in / "w2v_bert.safetensors"
    save_file(transformers_xcodec2(codec, bert), stand_in / CODEC[1])
    save_file(package_xcodec2(codec, bert), stand_in / CODEC[2])


def hugging_face_wavlm(path: Path) -> dict[str, torch.Tensor]:
    """Keys of microsoft/wavlm-large, weight norm in its old form."""
    layers = CASE["wavlm_cfg"]["encoder_layers"]
    module = WavLMFrontend([32] * 7, 64, layers, 4, 96, 320, 800)
    load_frontend(module, str(path))
    tensors = own_keys(module, "wavlm.", "")
    conv = "encoder.pos_conv_embed.conv."
    for number, letter in enumerate("gv"):
        original = f"{conv}parametrizations.weight.original{number}"
        tensors[f"{conv}weight_{letter}"] = tensors.pop(original)
    unilm = read_tensors(str(path))
    tensors["masked_spec_embed"] = unilm["mask_emb"]
    for name in ("weight", "bias"):
        key = f"encoder.layer_norm.{name}"
        tensors[key] = unilm[key].clone()
    return tensors


def transformers_xcodec2(path: Path, bert: Path) -> dict[str, torch.Tensor]:
    """Keys of HKUSTAudio/xcodec2-hf: both halves and w2v-BERT."""
    vocoder = Xcodec2Vocoder(64, 3, 2, 96, 256)
    semantic, codec = SemanticEncoder(32, 16, 4, 64), CodecEncoder(64, 32, 8)
    load_vocoder(vocoder, str(path))
    load_codec_encoder(codec, str(path))
    load_semantic_encoder(semantic, str(bert))
    tensors = {
        **own_keys(vocoder, "decoder.", "acoustic_decoder."),
        **own_keys(codec, "", ""),
        **own_keys(semantic, "bert.", "semantic_encoder."),
    }
    key = "masked_spec_embed"
    tensors[f"semantic_encoder.{key}"] = read_tensors(str(bert))[key]
    for side in ("in", "out"):
        for name in ("weight", "bias"):
            key = f"project_{side}.{name}"
            tensors[f"quantizer.{key}"] = tensors.pop(key)
    return tensors


def package_xcodec2(path: Path, bert: Path) -> dict[str, torch.Tensor]:
    """Keys of HKUSTAudio/xcodec2, which holds w2v-BERT and no discriminator."""
    tensors = {
        key: tensor
        for key, tensor in read_tensors(str(path)).items()
        if not key.startswith(("discriminator.", "fc_post_s."))
    }
    for key, tensor in read_tensors(str(bert)).items():
        tensors[f"semantic_model.{key}"] = tensor
    return {key: tensor.clone() for key, tensor in tensors.items()}


def own_keys(
    module: torch.nn.Module, prefix: str, replacement: str
) -> dict[str, torch.Tensor]:
    """A module's tensors, with another prefix."""
    return {
        replacement + key.removeprefix(prefix)
        if key.startswith(prefix)
        else key: tensor.clone()
        for key, tensor in module.state_dict().items()
    }
