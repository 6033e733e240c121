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

from speechbrain_llase.tensors import (
    drop,
    load_strictly,
    read_tensors,
    rename,
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
    tensors = rename(read_tensors(path), WAVLM_RULES)
    depth = len(module.wavlm.encoder.layers)
    above = [
        key
        for key in tensors
        if (m := re.match(r"wavlm\.encoder\.layers\.(\d+)\.", key))
        and int(m[1]) >= depth
    ]
    for key in above:  # layers that are not run
        del tensors[key]
    load_strictly(module, drop(tensors, WAVLM_IGNORED), path)


def load_token_lm(module: torch.nn.Module, path: str) -> None:
    """Load LM weights: ours or the released `best.pt.tar`; as above."""
    tensors = rename(read_tensors(path), TOKEN_LM_RULES)
    load_strictly(module, drop(tensors, TOKEN_LM_IGNORED), path)


def load_vocoder(module: torch.nn.Module, path: str) -> None:
    """Load Xcodec2 weights: ours, transformers' or the package's; as above."""
    tensors = rename(read_tensors(path), VOCODER_RULES)
    for key in [k for k in tensors if k.endswith(".att.c_attn.weight")]:
        parts = tensors.pop(key).chunk(3)
        for name, part in zip("qkv", parts, strict=True):
            renamed = key.replace("att.c_attn", f"self_attn.{name}_proj")
            tensors[renamed] = part
    load_strictly(module, drop(tensors, VOCODER_IGNORED), path)


def load_weights(module: torch.nn.Module, path: str) -> None:
    """Load a file that holds a module's own keys; as above."""
    load_strictly(module, read_tensors(path), path)


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
        for key, tensor in read_tensors(path).items()
        if key.startswith(prefix)
    }
    load_strictly(module, tensors, path)
