"""Official files -> our modules, strictly.

Pretrainer renames every file to `<module>.ckpt`, so layouts are recognised
by content. Every tensor of a file is loaded, or stands on a list of keys that
enhancement does not need; anything else is an error that names the keys.
Here are the layouts; `tensors.py` reads and loads.

Authors
 * The speechbrain_llase contributors 2026
"""

import re

import torch

from speechbrain_llase.pretrained.tensors import (
    StoredTensor,
    drop,
    load_strictly,
    open_tensors,
    rename,
)
from speechbrain_llase.pretrained.xcodec2_package import (
    Xcodec2PackageVocoder,
    package_keys,
)

# Each list of rules turns the keys of one published layout into ours.
WAVLM_RULES = [
    (r"^wavlm\.", ""),
    # unilm names
    (r"(conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"(conv_layers\.\d+)\.2\.1\.", r"\1.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"self_attn\.grep_linear", "attention.gru_rel_pos_linear"),
    (r"self_attn\.grep_a", "attention.gru_rel_pos_const"),
    (r"self_attn\.relative_attention_bias", "attention.rel_attn_embed"),
    (r"self_attn_layer_norm", "layer_norm"),
    (r"self_attn\.", "attention."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
    # weight norm before torch.nn.utils.parametrizations
    (r"conv\.weight_g$", "conv.parametrizations.weight.original0"),
    (r"conv\.weight_v$", "conv.parametrizations.weight.original1"),
    (r"^", "wavlm."),
]
WAVLM_IGNORED = [
    r"wavlm\.mask_emb$",  # masks of pre-training
    r"wavlm\.masked_spec_embed$",  # the same in Hugging Face's names
    r"wavlm\.encoder\.layer_norm\.",  # final norm, after the last layer used
]
TOKEN_LM_RULES = [
    (r"^module\.", ""),  # distributed training
    (r"^stage_embedding\.word_embeddings\.", "stage_embedding."),
    (r"^adaLN\.", "stage_norm."),
    (r"^lm\.model\.", "backbone."),
]
TOKEN_LM_IGNORED = [
    r"backbone\.embed_tokens\.",  # LLaMA's vocabulary: features come in
    r"lm\.lm_head\.",  # LLaMA's head: predict_layer is used instead
]
VOCODER_RULES = [
    (r"^generator\.quantizer\.", "quantizer."),
    (r"^generator\.head\.out\.", "decoder.head.linear."),
    (r"^generator\.backbone\.final_layer_norm\.", "decoder.norm."),
    (r"^generator\.backbone\.transformers\.", "decoder.layers."),
    (r"^generator\.backbone\.", "decoder."),
    (r"\.att_norm\.", ".input_layernorm."),
    (r"\.ffn_norm\.", ".post_attention_layernorm."),
    (r"\.att\.c_proj\.", ".self_attn.o_proj."),
    (r"^fc_post_a\.", "decoder.fc."),
    # transformers names
    (r"^acoustic_decoder\.", "decoder."),
    (r"^quantizer\.project_out\.", "project_out."),
]
VOCODER_IGNORED = [
    r"quantizer\.project_in\.",  # encoding half, here and below
    r"CodecEnc\.",
    r"SemanticEncoder_module\.",
    r"semantic_model\.",
    r"fc_prior\.",
    r"acoustic_encoder\.",
    r"semantic_encoder\.",
    r"semantic_adapter\.",
    r"fc_encoder\.",
    r"SemanticDecoder_module\.",  # training only, here and below
    r"fc_post_s\.",
    r"(spec_)?discriminator\.",
]


CODEC_ENCODER_RULES = [
    (r"^SemanticEncoder_module\.initial_conv\.", "semantic_adapter.conv1."),
    (
        r"^SemanticEncoder_module\.residual_blocks\.1\.",
        "semantic_adapter.conv2.",
    ),
    (
        r"^SemanticEncoder_module\.residual_blocks\.3\.",
        "semantic_adapter.conv3.",
    ),
    (r"^SemanticEncoder_module\.final_conv\.", "semantic_adapter.conv4."),
    (r"^CodecEnc\.conv_blocks\.0\.", "acoustic_encoder.conv1."),
    (r"^CodecEnc\.conv_final_block\.0\.", "acoustic_encoder.snake1."),
    (r"^CodecEnc\.conv_final_block\.1\.", "acoustic_encoder.conv2."),
    *(  # block 0 of the transformers form is block 1 of the package's
        (rf"^CodecEnc\.conv_blocks\.{n}\.", f"acoustic_encoder.block.{n - 1}.")
        for n in range(1, 10)
    ),
    *(
        (rf"(block\.\d+)\.block\.{n}\.block\.", rf"\1.res_unit{n + 1}.")
        for n in range(3)
    ),
    (r"(res_unit\d)\.0\.", r"\1.snake1."),
    (r"(res_unit\d)\.1\.", r"\1.conv1."),
    (r"(res_unit\d)\.2\.", r"\1.snake2."),
    (r"(res_unit\d)\.3\.", r"\1.conv2."),
    (r"(encoder\.block\.\d+)\.block\.3\.", r"\1.snake1."),
    (r"(encoder\.block\.\d+)\.block\.4\.", r"\1.conv1."),
    (r"^fc_prior\.", "fc_encoder."),
    (r"^generator\.quantizer\.", "quantizer."),
    (r"^quantizer\.project_in\.", "project_in."),
]
CODEC_ENCODER_IGNORED = [
    r"quantizer\.project_out\.",  # decoding half, here and below
    r"generator\.(backbone|head)\.",
    r"fc_post_a\.",
    r"acoustic_decoder\.",
    r"semantic_encoder\.",  # loaded by load_semantic_encoder
    r"semantic_model\.",
    r"SemanticDecoder_module\.",  # training only, here and below
    r"fc_post_s\.",
    r"(spec_)?discriminator\.",
]
SEMANTIC_RULES = [
    (
        r"^(semantic_encoder\.|semantic_model\.|bert\.)?"
        r"(?=masked|feature_pro|encoder)",
        "bert.",
    ),
]
SEMANTIC_IGNORED = [
    r"bert\.masked_spec_embed$",  # masks of pre-training
    r"(quantizer|acoustic_decoder|acoustic_encoder|fc_encoder)\.",
    r"semantic_adapter\.",  # with the lines around: the rest of Xcodec2
    r"(generator|CodecEnc|SemanticEncoder_module|fc_prior|fc_post_a)\.",
    r"SemanticDecoder_module\.",  # training only, here and below
    r"fc_post_s\.",
    r"(spec_)?discriminator\.",
]


def load_frontend(module: torch.nn.Module, path: str) -> None:
    """Load WavLM weights: ours, Hugging Face's or unilm's.

    Arguments
    ---------
    module : WavLMFrontend
        What is filled.
    path : str
        The file, whatever its name.

    Raises
    ------
    ValueError
        The file is no checkpoint, or its tensors do not fit.
    """
    tensors = rename(open_tensors(path), WAVLM_RULES)
    depth = len(module.wavlm.encoder.layers)
    tensors = below(tensors, r"wavlm\.encoder\.", depth)
    load_strictly(module, drop(tensors, WAVLM_IGNORED), path)


def load_token_lm(module: torch.nn.Module, path: str) -> None:
    """Load LM weights: ours or the released `best.pt.tar`; as above."""
    tensors = rename(open_tensors(path), TOKEN_LM_RULES)
    load_strictly(module, drop(tensors, TOKEN_LM_IGNORED), path)


def load_vocoder(module: torch.nn.Module, path: str) -> None:
    """Load Xcodec2 weights: ours, transformers' or the package's; as above."""
    tensors = rename(open_tensors(path), VOCODER_RULES)
    for key in [k for k in tensors if k.endswith(".att.c_attn.weight")]:
        joined = tensors.pop(key)
        for index, name in enumerate("qkv"):
            renamed = key.replace("att.c_attn", f"self_attn.{name}_proj")
            tensors[renamed] = third(joined, index)
    tensors = drop(tensors, VOCODER_IGNORED)
    if isinstance(module, Xcodec2PackageVocoder):
        tensors = package_keys(tensors)
    load_strictly(module, tensors, path)


def load_codec_encoder(module: torch.nn.Module, path: str) -> None:
    """Load the encoding half of Xcodec2, transformers' or the package's.

    Weight norm is folded: w = g v / |v|, per output channel. As above.
    """
    tensors = rename(open_tensors(path), CODEC_ENCODER_RULES)
    for key in [k for k in tensors if k.endswith(".weight_g")]:
        base = key.removesuffix("_g")
        tensors[base] = fold(tensors.pop(key), tensors.pop(f"{base}_v"))
    load_strictly(module, drop(tensors, CODEC_ENCODER_IGNORED), path)


def load_semantic_encoder(module: torch.nn.Module, path: str) -> None:
    """Load w2v-BERT 2.0, alone or out of Xcodec2 in transformers' form."""
    tensors = rename(open_tensors(path), SEMANTIC_RULES)
    tensors = below(
        tensors, r"bert\.encoder\.", len(module.bert.encoder.layers)
    )
    load_strictly(module, drop(tensors, SEMANTIC_IGNORED), path)


def load_weights(module: torch.nn.Module, path: str) -> None:
    """Load a file that holds a module's own keys; as above."""
    load_strictly(module, open_tensors(path), path)


def load_averaged(module: torch.nn.Module, path: str, name: str) -> None:
    """Load one module out of a training's averaged weights; as above.

    Arguments
    ---------
    module : torch.nn.Module
        What is filled.
    path : str
        An `average.ckpt` of the llase_mini recipe, which holds several
        modules.
    name : str
        The module's name there.
    """
    prefix = f"module.{name}."
    tensors = {
        key.removeprefix(prefix): tensor
        for key, tensor in open_tensors(path).items()
        if key.startswith(prefix)
    }
    load_strictly(module, tensors, path)


def load_stem(module: torch.nn.Module, path: str) -> None:
    """Load the stem of a `SpectralFrontend` from an averaged codec's encoder.

    The rest of the frontend is left as it is. As above.
    """
    load_averaged(module.stem, path, "encoder.stem")


def below(
    tensors: dict[str, StoredTensor], encoder: str, depth: int
) -> dict[str, StoredTensor]:
    """Leave out the layers that are not run, from `depth` up."""
    layer = re.compile(encoder + r"layers\.(\d+)\.")
    return {
        key: tensor
        for key, tensor in tensors.items()
        if not ((m := layer.match(key)) and int(m[1]) >= depth)
    }


def third(joined: StoredTensor, index: int) -> StoredTensor:
    """One of three equal parts of a tensor, along its first axis."""
    rows = joined.shape[0] // 3
    return StoredTensor(
        torch.Size([rows, *joined.shape[1:]]),
        lambda: joined.read()[index * rows : (index + 1) * rows],
    )


def fold(size: StoredTensor, direction: StoredTensor) -> StoredTensor:
    """Fold weight norm: w = g v / |v|, per output channel."""

    def read() -> torch.Tensor:
        v = direction.read()
        return size.read() * v / v.norm(dim=(1, 2), keepdim=True)

    return StoredTensor(direction.shape, read)
