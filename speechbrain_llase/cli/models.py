"""`speechbrain-llase models`: what comes with the package."""

import argparse
from pathlib import Path

from speechbrain_llase.cli.common import add_command

HELP = """\
List the models that are packaged: their size, their licence, and where their
model card lies. Any of them is a --source.
"""
EPILOG = "exit codes: 0 done, 2 usage"
CARDS = ("MODEL_CARD.md", "README.md")
FETCHED = "none in the package; see speechbrain-llase download"


def add_parser(subparsers) -> None:
    """Describe the sub-command `models`."""
    add_command(
        subparsers, "models", run, "list the packaged models", HELP, EPILOG
    )


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase models`; return the exit code."""
    from speechbrain_llase.inference.sources import packaged_models

    print("\n\n".join(map(describe, packaged_models().values())))
    return 0


def describe(folder: Path) -> str:
    """Say in four lines what a model's folder holds."""
    from speechbrain_llase.inference.sources import licence_of

    weights = [file.stat().st_size for file in folder.glob("*.ckpt")]
    cards = [str(folder / x) for x in CARDS if (folder / x).is_file()]
    lines = {
        "weights": f"{sum(weights) / 1e6:.1f} MB" if weights else FETCHED,
        "licence": licence_of(str(folder)),
        "card": cards[0] if cards else f"none; see {folder}/hyperparams.yaml",
    }
    return "\n".join(
        [folder.name, *(f"  {name:<8} {text}" for name, text in lines.items())]
    )
