"""Official files -> our modules, strictly.

Pretrainer renames every file to `<module>.ckpt`, so layouts are recognised
by content. Every tensor of a file is loaded, or stands on a list of keys that
enhancement does not need; anything else is an error that names the keys.

Authors
 * The speechbrain_llase contributors 2026
"""

import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

WRAPPERS = ("model_state_dict", "state_dict", "model")
SHOWN = 8  # keys named in an error

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


def read_tensors(path: str) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint, recognised by its first bytes.

    Arguments
    ---------
    path : str
        A safetensors file, or one that torch.save wrote; of the latter,
        tensors under "model_state_dict", "state_dict" or "model" are taken.
        Nothing but tensors and plain values is unpickled.

    Returns
    -------
    tensors : dict
        Key -> tensor, on the CPU.

    Raises
    ------
    ValueError
        The file is empty, truncated, of another kind, or holds no tensors.
    """
    with open(path, "rb") as file:
        head = file.read(9)
    size = Path(path).stat().st_size
    try:
        if head[8:9] == b"{":
            return load_file(path)
        if head[:2] == b"PK" or head[:1] == b"\x80":
            return unwrap(
                torch.load(path, map_location="cpu", weights_only=True), path
            )
    except (SafetensorError, RuntimeError, EOFError, OSError) as err:
        raise ValueError(
            f"{path} ({size} bytes) is damaged, perhaps a download that broke "
            f"off; fetch it again. ({str(err).splitlines()[0]})"
        ) from err
    except Exception as err:
        if type(err).__name__ != "UnpicklingError":
            raise
        raise ValueError(
            f"{path} holds more than tensors and plain values; it was not "
            "unpickled, because that could run code. Ask for safetensors."
        ) from err
    raise ValueError(
        f"{path} ({size} bytes) begins with {head!r}: neither safetensors nor "
        "a torch.save file. A web page saved in its place?"
    )


def unwrap(loaded: object, path: str) -> dict[str, torch.Tensor]:
    """Find the tensors in what torch.save wrote."""
    for key in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        raise ValueError(f"{path} holds {type(loaded).__name__}, not tensors.")
    others = [k for k, v in loaded.items() if not torch.is_tensor(v)]
    if others:
        raise ValueError(
            f"{path} holds no tensors under {listed(others)}; expected a "
            f"state dict, plain or under one of {', '.join(WRAPPERS)}."
        )
    return loaded


def rename(
    tensors: dict[str, torch.Tensor], rules: list[tuple[str, str]]
) -> dict[str, torch.Tensor]:
    """Apply the rules, in order, to every key."""
    renamed = {}
    for key, tensor in tensors.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key, count=1)
        renamed[key] = tensor
    return renamed


def drop(
    tensors: dict[str, torch.Tensor], ignored: list[str]
) -> dict[str, torch.Tensor]:
    """Leave out the keys that match one of the ignored patterns."""
    patterns = re.compile("|".join(ignored))
    return {k: v for k, v in tensors.items() if not patterns.match(k)}


def load_strictly(
    module: torch.nn.Module, tensors: dict[str, torch.Tensor], path: str
) -> None:
    """Copy tensors into a module; all must be there and nothing else.

    Arguments
    ---------
    module : torch.nn.Module
        What is filled; tensors are converted to its dtypes.
    tensors : dict
        Key -> tensor.
    path : str
        Named in the error.

    Raises
    ------
    ValueError
        Keys are missing, unknown or of another shape; nothing was copied.
    """
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - wanted.keys())
    misshapen = [
        f"{k} is {tuple(tensors[k].shape)}, the YAML says {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in tensors and tensors[k].shape != v.shape
    ]
    problems = [
        f"{what}: {listed(keys)}"
        for what, keys in (
            ("missing", missing),
            ("unknown", unknown),
            ("misshapen", misshapen),
        )
        if keys
    ]
    if problems:
        raise ValueError(
            f"{path} does not fit {type(module).__name__}. "
            + "; ".join(problems)
        )
    module.load_state_dict(tensors, strict=True)


def listed(keys: list[str]) -> str:
    """Name the first keys, and count the others."""
    more = len(keys) - SHOWN
    shown = ", ".join(map(str, keys[:SHOWN]))
    return f"{shown} and {more} more" if more > 0 else shown
