"""What a unilm checkpoint of WavLM says about its network, under `cfg`."""

import ast

from speechbrain_llase.pretrained.pickles import PassedOver, load_pickle, trust
from speechbrain_llase.pretrained.tensors import is_safetensors

CONVOLUTIONS = [(10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)]


def read_config(path: str) -> dict:
    """Read what a unilm checkpoint says under `cfg`; {} for other files."""
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
        if [layer[1:] for layer in layers] != CONVOLUTIONS:
            raise ValueError(
                f"The file's convolutions (kernel, stride) are "
                f"{[layer[1:] for layer in layers]}; only {CONVOLUTIONS} is "
                "supported."
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

    def read(node: ast.AST) -> list:
        """Lists, sums and repetitions, and nothing else."""
        if isinstance(node, ast.List):
            return [ast.literal_eval(element) for element in node.elts]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return read(node.left) + read(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            times = ast.literal_eval(node.right)
            if isinstance(times, int) and 0 <= times <= 100:
                return read(node.left) * times
        raise ValueError("neither a list, a sum nor a short repetition")

    try:
        layers = read(ast.parse(text, mode="eval").body)
        if all(
            isinstance(layer, tuple)
            and len(layer) == 3
            and all(type(n) is int for n in layer)
            for layer in layers
        ):
            return layers
        raise ValueError("the list holds something else than three numbers")
    except (SyntaxError, ValueError) as err:
        raise ValueError(
            f"conv_feature_layers is {text!r}; expected lists of (dim, kernel, "
            f"stride) joined by + and repeated by *: {err}"
        ) from err
