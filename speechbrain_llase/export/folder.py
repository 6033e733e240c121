"""A folder in which a model runs without PyTorch: networks, settings, program."""

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_llase import __version__
from speechbrain_llase.export.onnx_files import write_networks
from speechbrain_llase.processing.framing import HOP_LENGTH, MIN_SAMPLES

if TYPE_CHECKING:
    from speechbrain_llase import EnhanceLLaSE
    from speechbrain_llase.inference.stages import Stages

PROGRAM = "enhance.py"  # the runtime, of which a copy lies in the folder


def export_model(
    enhancer: "EnhanceLLaSE", folder: Path, compute: str = "float32"
) -> None:
    """Write a model's networks, settings and runtime into a folder.

    Arguments
    ---------
    enhancer : EnhanceLLaSE
        With weights in float32, on the CPU.
    folder : Path
        Gets a file for each network, `settings.json` and `enhance.py`.
    compute : str
        "float32"; or "int8": what the layers of all networks but the refiner
        multiply with is rounded.

    Raises
    ------
    ValueError
        The model does what the runtime does not know.
    """
    check_exportable(enhancer)
    names = write_networks(enhancer.stages, folder, compute)
    settings = runtime_settings(enhancer.stages, names)
    text = json.dumps(settings, indent=1) + "\n"
    (folder / "settings.json").write_text(text, "utf-8")
    program = resources.files("speechbrain_llase.export") / PROGRAM
    (folder / PROGRAM).write_bytes(program.read_bytes())


def check_exportable(enhancer: "EnhanceLLaSE") -> None:
    """Refuse a model that the runtime cannot run as it is, and say why."""
    stages = enhancer.stages
    refused = {
        "window_s and context_from: joined": stages.joined,
        "guard or candidates": enhancer.is_watched,
        f"compute: {enhancer.computes_in}": enhancer.computes_in != "float32",
        "a level that is matched after the networks (restore_level without "
        "a SpectralRefiner; restore_level: False leaves the model's own)": (
            stages.follows
            or (stages.hparams.restore_level and not stages.keeps_level)
        ),
    }
    found = [what for what, is_so in refused.items() if is_so]
    if found:
        raise ValueError(
            f"The exported runtime does not know {' nor '.join(found)}; "
            "export a model without, such as llase_mini."
        )


def runtime_settings(stages: "Stages", names: list[str]) -> dict:
    """Give what the runtime has to know: rows, and samples where not said."""
    return {
        "version": __version__,
        "networks": names,
        "sample_rate": stages.hparams.sample_rate,
        "hop_length": HOP_LENGTH,
        "min_samples": MIN_SAMPLES,
        "reach": stages.reach,
        "zero_row": stages.zero_row,
        "window": stages.window,  # rows
        "context": stages.context,  # rows
        "crossfade": stages.crossfade,
        "keeps_level": stages.keeps_level,  # of the input, or has its own
    }
