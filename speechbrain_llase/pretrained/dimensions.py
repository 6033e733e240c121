"""Read a network's dimensions from its checkpoint's tensors.

What tensors cannot tell, the number of heads of LLaMA and of Xcodec2, has to
be said: a wrong number loads without error and gives wrong tokens.
"""

import re
from collections.abc import Collection

import torch

from speechbrain_llase.nnet.fsq import NUM_DIGITS, NUM_LEVELS, VOCAB_SIZE
from speechbrain_llase.pretrained.layouts import (
    CODEC_ENCODER_RULES,
    MULTITASK_LM_RULES,
    SEMANTIC_RULES,
    TOKEN_LM_RULES,
    VOCODER_RULES,
    WAVLM_RULES,
)
from speechbrain_llase.pretrained.pickles import PassedOver, load_pickle, trust
from speechbrain_llase.pretrained.tensors import (
    StoredTensor,
    is_safetensors,
    rename,
)

OFFICIAL_WIDTH = 1024  # of the LM and of the codec; both have 16 heads there
OFFICIAL_HEADS = 16
SEMANTIC_LAYERS = 16  # of w2v-BERT that Xcodec2 hears
MAX_DISTANCE = 800  # rows; WavLM-Large, where the file does not say
CONVOLUTIONS = [(10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)]
REPEATED = r"\[((?:\(\d+,\d+,\d+\),?)+)\](?:\*(\d{1,2}))?"  # [(8,3,2)]*4


class Shapes:
    """The shapes of a file's tensors, asked for by our keys.

    `rules` turn the file's keys into ours; `what` is named in the error if
    one is not there.
    """

    def __init__(self, tensors: dict, rules: list, what: str):
        self.shapes = {k: t.shape for k, t in rename(tensors, rules).items()}
        self.what = what

    def of(self, key: str) -> torch.Size:
        """Shape of one tensor; a ValueError if it is not there."""
        if key not in self.shapes:
            raise ValueError(
                f"The file is no {self.what}: it has no tensor {key} (nor its "
                "equivalent in another published layout)."
            )
        return self.shapes[key]

    def count(self, prefix: str) -> int:
        """Number of layers `prefix.0.`, `prefix.1.` and so on."""
        found = map(re.compile(rf"{prefix}\.(\d+)\.").match, self.shapes)
        return len({layer[1] for layer in found if layer})


def network_dimensions(
    name: str,
    tensors: dict[str, StoredTensor],
    config: dict,
    lm_heads: int | None,
    codec_heads: int | None,
    layer: int,
) -> dict:
    """Arguments of one network, a key of `convert.NETWORKS`, by its file.

    `config` is what unilm's file of WavLM says under `cfg`, heads are None for
    the official ones, `layer` is WavLM's whose output the LM hears. A
    ValueError for another file, or a network of another structure.
    """
    if name == "frontend":
        return frontend_dimensions(tensors, config, layer)
    if name == "token_lm" and is_multitask(tensors):
        return multitask_lm_dimensions(tensors, lm_heads)
    if name == "token_lm":
        return token_lm_dimensions(tensors, lm_heads)
    if name == "vocoder":
        return vocoder_dimensions(tensors, codec_heads)
    if name == "semantic_encoder":
        return semantic_dimensions(tensors)
    return codec_encoder_dimensions(tensors)


def frontend_dimensions(
    tensors: dict[str, StoredTensor], config: dict, num_layers: int
) -> dict:
    """Arguments of WavLMFrontend; `num_layers` are kept."""
    shapes = Shapes(tensors, WAVLM_RULES, "WavLM")
    hidden_size = shapes.of("wavlm.feature_projection.projection.bias")[0]
    depth = shapes.count("wavlm.encoder.layers")
    if not 0 < num_layers <= depth:
        raise ValueError(
            f"Layer {num_layers} was asked for; the file has {depth} layers."
        )
    check_structure(config)
    layer = "wavlm.encoder.layers.0."
    conv = "wavlm.feature_extractor.conv_layers.{}.conv.weight"
    return {
        "conv_dim": [
            shapes.of(conv.format(n))[0] for n in range(len(CONVOLUTIONS))
        ],
        "hidden_size": hidden_size,
        "num_layers": num_layers,
        "num_heads": shapes.of(f"{layer}attention.gru_rel_pos_const")[1],
        "ffn_size": shapes.of(f"{layer}feed_forward.intermediate_dense.bias")[
            0
        ],
        "num_buckets": shapes.of(f"{layer}attention.rel_attn_embed.weight")[0],
        "max_distance": config.get("max_distance", MAX_DISTANCE),
    }


def read_config(path: str) -> dict:
    """Read what unilm's file of WavLM says under `cfg`; {} for other files."""
    if is_safetensors(path):
        return {}
    loaded = load_pickle(path)
    config = loaded.get("cfg", {}) if isinstance(loaded, dict) else {}
    values = config.values() if isinstance(config, dict) else [config]
    if any(isinstance(value, PassedOver) for value in values):
        raise ValueError(
            f"{path} holds an object under cfg, which says how the network is "
            f"built; {trust(path)}"
        )
    return config if isinstance(config, dict) else {}


def check_structure(config: dict) -> None:
    """Refuse a unilm configuration that WavLMFrontend does not build."""
    if "conv_feature_layers" in config:
        layers = parse_layers(config["conv_feature_layers"])
        found = [layer[1:] for layer in layers]
        if found != CONVOLUTIONS:
            raise ValueError(
                f"The file's convolutions (kernel, stride) are {found}; only "
                f"{CONVOLUTIONS} is supported."
            )
    wanted = {"extractor_mode": "layer_norm", "layer_norm_first": True}
    for key, value in wanted.items():
        if config.get(key, value) != value:
            raise ValueError(
                f"The file says {key}={config[key]!r}; only {value!r} (WavLM-"
                "Large) is supported."
            )


def parse_layers(text: str) -> list[tuple[int, ...]]:
    """Read lists of (dim, kernel, stride), joined by + and repeated by *.

    Nothing is evaluated: a ValueError if the text says anything else.

    Example
    -------
    >>> parse_layers("[(8,10,5)] + [(8,3,2)] * 2")
    [(8, 10, 5), (8, 3, 2), (8, 3, 2)]
    """
    bare = re.sub(r"\s", "", str(text))
    if not re.fullmatch(rf"{REPEATED}(\+{REPEATED})*", bare):
        raise ValueError(
            f"conv_feature_layers is {text!r}; expected lists of (dim, kernel, "
            "stride) joined by + and repeated by *."
        )
    layers = []
    for few, times in re.findall(REPEATED, bare):
        numbers = re.findall(r"(\d+),(\d+),(\d+)", few)
        layers += [tuple(map(int, layer)) for layer in numbers] * int(
            times or 1
        )
    return layers


def token_lm_dimensions(
    tensors: dict[str, StoredTensor], num_heads: int | None
) -> dict:
    """Arguments of TokenLM; num_heads None means the official 16."""
    shapes = Shapes(tensors, TOKEN_LM_RULES, "token LM")
    d_model, input_size = shapes.of("audio_linear.weight")
    classes = shapes.of("predict_layer.weight")[0]
    heads = {VOCAB_SIZE: "softmax", NUM_DIGITS * NUM_LEVELS: "digits"}
    if classes not in heads:
        raise ValueError(
            f"predict_layer has {classes} classes; {VOCAB_SIZE} (softmax) or "
            f"{NUM_DIGITS * NUM_LEVELS} (digits) are known."
        )
    return {
        "input_size": input_size,
        "d_model": d_model,
        "num_layers": shapes.count("backbone.layers"),
        "num_heads": pick_heads("--lm-heads", d_model, num_heads),
        "ffn_size": shapes.of("backbone.layers.0.mlp.up_proj.weight")[0],
        "head": heads[classes],
    }


def is_multitask(keys: Collection[str]) -> bool:
    """Tell by its tensors whether an LM has two inputs, as LLaSE-G1's has."""
    return any(key.endswith("audio_linear_x.weight") for key in keys)


def multitask_lm_dimensions(
    tensors: dict[str, StoredTensor], num_heads: int | None
) -> dict:
    """Arguments of MultitaskLM; num_heads None means the official 16."""
    shapes = Shapes(tensors, MULTITASK_LM_RULES, "multi-task LM")
    d_model, input_size = shapes.of("audio_linear_x.weight")
    return {
        "input_size": input_size,
        "d_model": d_model,
        "num_layers": shapes.count("backbone.layers"),
        "num_heads": pick_heads("--lm-heads", d_model, num_heads),
        "ffn_size": shapes.of("backbone.layers.0.mlp.up_proj.weight")[0],
    }


def vocoder_dimensions(
    tensors: dict[str, StoredTensor], num_heads: int | None
) -> dict:
    """Arguments of Xcodec2Vocoder; num_heads None means the official 16."""
    shapes = Shapes(tensors, VOCODER_RULES, "Xcodec2")
    hidden_size = shapes.of("decoder.embed.bias")[0]
    return {
        "hidden_size": hidden_size,
        "num_layers": shapes.count("decoder.layers"),
        "num_heads": pick_heads("--codec-heads", hidden_size, num_heads),
        "quantization_dim": shapes.of("project_out.bias")[0],
        "ffn_size": shapes.of("decoder.layers.0.mlp.fc1.weight")[0],
    }


def codec_encoder_dimensions(tensors: dict[str, StoredTensor]) -> dict:
    """Arguments of CodecEncoder."""
    shapes = Shapes(tensors, CODEC_ENCODER_RULES, "Xcodec2 encoder")
    return {
        "hidden_size": shapes.of("acoustic_encoder.conv2.bias")[0],
        "semantic_size": shapes.of("semantic_adapter.conv1.weight")[0],
        "channels": shapes.of("acoustic_encoder.conv1.bias")[0],
    }


def semantic_dimensions(tensors: dict[str, StoredTensor]) -> dict:
    """Arguments of SemanticEncoder; heads follow from the bias' width."""
    shapes = Shapes(tensors, SEMANTIC_RULES, "w2v-BERT 2.0")
    layer = "bert.encoder.layers.0."
    hidden_size = shapes.of("bert.feature_projection.projection.bias")[0]
    width = shapes.of(f"{layer}self_attn.distance_embedding.weight")[1]
    return {
        "hidden_size": hidden_size,
        "num_layers": SEMANTIC_LAYERS,
        "num_heads": hidden_size // width,
        "ffn_size": shapes.of(f"{layer}ffn1.intermediate_dense.bias")[0],
    }


def pick_heads(option: str, width: int, num_heads: int | None) -> int:
    """Take the number said; else the official one at the official width."""
    if num_heads is None and width == OFFICIAL_WIDTH:
        return OFFICIAL_HEADS
    if num_heads is None:
        raise ValueError(
            f"The width is {width}, not the official {OFFICIAL_WIDTH}: say "
            f"how many heads it has with {option}. No tensor tells, and a "
            "wrong number gives wrong output without an error."
        )
    if num_heads < 1 or width % (2 * num_heads):
        raise ValueError(
            f"{option} {num_heads} does not fit the width {width}: each head "
            "needs an even share of it."
        )
    return num_heads
