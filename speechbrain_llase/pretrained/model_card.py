"""What a published model folder says of itself, to people and to model hubs.

The head of its hyperparams.yaml, README.md with the front matter that hubs
read, and custom.py for SpeechBrain's `foreign_class`.
"""

import json
import re
import textwrap
from pathlib import Path

from speechbrain_llase import __version__
from speechbrain_llase.inference.sources import licence_of

HUB_LICENCES = {"CC-BY-NC": "cc-by-nc-4.0", "Apache-2.0": "apache-2.0"}
HEAD_WIDTH = 78  # of the head of a YAML
CUSTOM = '''\
"""This model by SpeechBrain's `foreign_class`; needs speechbrain_llase."""

from speechbrain_llase import EnhanceLLaSE


class CustomInterface(EnhanceLLaSE):
    """The name that `foreign_class` looks for."""
'''
FRONT = """\
---
library_name: speechbrain
pipeline_tag: audio-to-audio
license: {licence}
base_model: {base}
tags:
- speechbrain
- speech-enhancement
- denoising
- audio-to-audio
- llase
metrics:
{metrics}
model-index:
- name: {name}
  results:
  - task:
      type: audio-to-audio
      name: speech enhancement
    dataset:
      type: validation
      name: the validation list of its training
    metrics:
{results}
---
"""
CARD = """
# {name}

A generative speech enhancer (16 kHz, one channel), fine-tuned from {base} with
speechbrain_llase {version}.

## Use

```python
from speechbrain_llase import EnhanceLLaSE

enhancer = EnhanceLLaSE.from_hparams("FOLDER or ORG/NAME")
enhancer.enhance_file("noisy.wav", "enhanced.wav")
```

or `speechbrain-llase enhance noisy.wav --output enhanced --source FOLDER`, or
SpeechBrain's `foreign_class(source="FOLDER or ORG/NAME")`.

## Training

The {trained} was trained; what else there is comes from {base}. At the
checkpoint that was published:

| | |
|---|---|
{table}

{refiner}

## Licence

{says}

## Limits

It generates speech: words and voices may change, and more so in strong noise.
Loss and accuracy say little of that. Measure it on recordings of your own with
`speechbrain-llase evaluate` before you rely on it, and write here what you find.
"""
REFINERS = {
    None: "It has no refiner.",
    False: (
        "The refiner of {base} was left out, for it was trained on what the "
        "token LM of {base} says."
    ),
    True: (
        "It has the refiner of {base}, which was trained on what the token LM "
        "of {base} says: compare with a folder that was published without."
    ),
}
TRAINED_REFINER = "It learned from what the token LM of {base} says."


def with_header(text: str, name: str, base: Path) -> str:
    """Give a model's YAML, made of the base's, a head of its own."""
    rule = "# " + "#" * (HEAD_WIDTH - 2)
    lines = [
        f"# Model: {name}, fine-tuned from {base.name} with speechbrain_llase "
        f"{__version__}",
        "# Use: EnhanceLLaSE.from_hparams(FOLDER), the folder of this file",
        textwrap.fill(
            f"# Licence: {own_licence(base)}",
            HEAD_WIDTH,
            subsequent_indent="#   ",
            break_long_words=False,
        ),
    ]
    head = "\n".join([rule, *lines, rule]) + "\n"
    return head + re.sub(r"\A(?:#.*\n)+", "", text)


def own_licence(base: Path) -> str:
    """Say under which licence a model is that was made of a base."""
    said = licence_of(str(base))
    return said.replace("MODEL_CARD.md", f"the model card of {base.name}")


def write_card(
    folder: Path,
    manifest: dict,
    base: Path,
    keeps_refiner: bool | None = None,
    trained: str = "token LM",
) -> None:
    """Write README.md, for people and for model hubs.

    `manifest` is what manifest.json says; `keeps_refiner` is None where the
    base has none; `trained` is "token LM" or "refiner".
    """
    refiner = REFINERS[keeps_refiner]
    if trained == "refiner":
        refiner = TRAINED_REFINER
    says = own_licence(base)
    found = [hub for word, hub in HUB_LICENCES.items() if word in says]
    found += ["other"]
    figures = {
        key.removeprefix("checkpoint_").replace("_", " "): value
        for key, value in manifest["training"].items()
    }
    measured = {k: v for k, v in figures.items() if k not in ("epoch", "share")}
    quoted = json.dumps(folder.name), json.dumps(base.name)
    front = FRONT.format(
        licence=found[0],
        name=quoted[0],
        base=quoted[1],
        metrics="\n".join(f"- {name}" for name in measured),
        results="\n".join(
            f"    - type: {name}\n      value: {value}"
            for name, value in measured.items()
        ),
    )
    card = CARD.format(
        name=folder.name,
        base=base.name,
        version=__version__,
        says=says,
        table="\n".join(f"| {k} | {v} |" for k, v in figures.items()),
        trained=trained,
        refiner=refiner.format(base=base.name),
    )
    (folder / "README.md").write_text(front + card, encoding="utf-8")
