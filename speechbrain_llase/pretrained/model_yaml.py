"""The YAML of a converted folder: the packaged one, with its dimensions."""

import re
from importlib import resources
from pathlib import Path

PACKAGED = {"TokenLM": "llase", "MultitaskLM": "llase_g1"}
TOKENIZER_YAML = """\
# Clean speech -> Xcodec2 tokens, for training only; see
# speechbrain_llase.lobes.xcodec2_tokenizer.load_tokenizer.

{networks}
tokenizer: !new:speechbrain_llase.lobes.xcodec2_tokenizer.Xcodec2Tokenizer
    semantic_encoder: !ref <semantic_encoder>
    codec_encoder: !ref <codec_encoder>
modules:
    tokenizer: !ref <tokenizer>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        semantic_encoder: !ref <semantic_encoder>
        codec_encoder: !ref <codec_encoder>
    custom_hooks:
        semantic_encoder: !name:speechbrain_llase.pretrained.loading.load_weights
        codec_encoder: !name:speechbrain_llase.pretrained.loading.load_weights
"""


def write_yaml(networks: dict, folder: Path) -> None:
    """Write hyperparams.yaml, and tokenizer.yaml where there is one.

    `networks` holds (module, its dimensions) by name.
    """
    packaged = resources.files("speechbrain_llase.hparams")
    name = PACKAGED[type(networks["token_lm"][0]).__name__]
    text = packaged.joinpath(name, "hyperparams.yaml").read_text("utf-8")
    text = re.sub(r"# Weights:.*?\n\n", "", text, flags=re.DOTALL)
    text = re.sub(r"    paths:\n(?:        .*\n)+", "", text)
    text = re.sub(
        r'from_hparams\("\w+"\), or with files of your own\n#   overrides=.*',
        "from_hparams(FOLDER), the folder of this file",
        text,
    )
    for name in ("frontend", "token_lm", "vocoder"):
        block = re.compile(rf"^{name}: !new:.*\n(?:    .*\n)+", re.MULTILINE)
        dims = networks[name][1]
        text = block.sub(lambda found, d=dims: fill(found[0], d), text)
    (folder / "hyperparams.yaml").write_text(text, encoding="utf-8")
    if "semantic_encoder" in networks:
        entries = ""
        for name in ("semantic_encoder", "codec_encoder"):
            module, dims = networks[name]
            kind = f"{type(module).__module__}.{type(module).__name__}"
            entries += fill(f"{name}: !new:{kind}", dims)
        text = TOKENIZER_YAML.format(networks=entries)
        (folder / "tokenizer.yaml").write_text(text, encoding="utf-8")


def without_refiner(text: str) -> str:
    """Take the refiner and its knob out of a model's YAML, if it has them.

    Example
    -------
    >>> text = (
    ...     "generative: 0.5\\nrefiner: !new:a.B\\n    width: 1\\nmodules:\\n"
    ... )
    >>> without_refiner(text + "    vocoder: v\\n    refiner: r\\n")
    'modules:\\n    vocoder: v\\n'
    """
    own = r"^(generative| +refiner): .*\n|^refiner: !new:.*\n(?:    .*\n)*"
    return re.sub(own, "", text, flags=re.MULTILINE)


def fill(block: str, dims: dict) -> str:
    """Put dimensions into a network's lines; the others stay as they are."""
    rest, lines = dict(dims), []
    for line in block.splitlines():
        key = line.strip().split(":")[0]
        lines.append(f"    {key}: {rest.pop(key)}" if key in rest else line)
    lines += [f"    {key}: {value}" for key, value in rest.items()]
    return "\n".join(lines) + "\n"
