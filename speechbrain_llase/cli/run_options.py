"""Options of `enhance` that concern many files, other places and machines."""

import argparse
import re
from pathlib import Path

from speechbrain_llase.cli.common import fraction, non_empty, positive
from speechbrain_llase.dataio.audio_formats import FORMATS

BESIDE = {"aec": "what a loudspeaker plays", "tse": "the voice to extract"}


def add_task_options(parser: argparse.ArgumentParser) -> None:
    """Add what a model of several tasks is to do."""
    group = parser.add_argument_group(
        "tasks of LLaSE-G1",
        "A model folder of llase_g1 (--source) conceals lost packets, which are"
        " found by\nthemselves and reported, cancels echo, extracts a voice and"
        " separates two.",
    )
    add = group.add_argument
    add(
        "--task",
        choices=["se", "plc", "aec", "tse", "ss"],
        default="se",
        help="enhancement, packet loss, echo, target speaker, separation into"
        " NAME_1.wav and NAME_2.wav (default: %(default)s)",
    )
    add(
        "--reference",
        type=non_empty,
        metavar="FILE|FOLDER|LIST|COLUMN",
        help="what is heard beside the inputs: for aec what the loudspeaker"
        " plays, for tse speech of the voice to extract. One file serves all"
        " inputs; of a folder or a list, the file of the same name; a column"
        " of a CSV or JSON input stands in the same row",
    )
    add(
        "--passes",
        type=positive,
        default=1,
        metavar="N",
        help="how often the model runs, each time but the first on its own"
        " output (default: %(default)s)",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what concerns many files, and what is told of them."""
    add = parser.add_argument
    add_format_options(parser)
    add("--overwrite", action="store_true", help="make existing outputs again")
    add(
        "--keep-others",
        action="store_true",
        help="go on beside outputs of another model, of other settings or of"
        " other inputs, and keep them",
    )
    add(
        "--column",
        type=non_empty,
        metavar="NAME",
        help="where the paths are in CSV and JSON lists (default: found by"
        " its name)",
    )
    add(
        "--channels",
        type=channels,
        default="mix",
        metavar="mix|each|N",
        help="mix: their mean, or the strongest where they would cancel; each:"
        " every one enhanced, in a file of as many; N: one, counted from 1"
        " (default: %(default)s)",
    )
    add(
        "--track",
        type=positive,
        default=1,
        metavar="N",
        help="sound track of films that have several (default: the first)",
    )
    add(
        "--manifest",
        type=non_empty,
        metavar="FILE",
        help="where the lines go (default: manifest.jsonl in the output"
        " folder, with --shard 2/8 manifest-2of8.jsonl)",
    )
    add(
        "--shard",
        type=shard,
        metavar="I/N",
        help="only the I-th of N parts of the files sorted by output",
    )
    add_engine_options(parser)
    add(
        "--guard",
        action="store_true",
        help="pass the input through where enhancement would harm it, as the"
        " guard section of the model's YAML says; files are held in memory",
    )
    add(
        "--details",
        type=Path,
        metavar="FILE",
        help="append a line of JSON for each file: the token model's"
        " confidence, the guard's decisions; files are held in memory",
    )


def add_format_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how results are written."""
    add = parser.add_argument
    add(
        "--format",
        "--audio-format",
        choices=[*FORMATS, "same"],
        help="of results, in shards and tables, too; same: that of the input,"
        " WAV where it cannot be written (default: wav; FLAC in shards and"
        " tables stays FLAC)",
    )
    add(
        "--subtype",
        choices=["16", "24", "float"],
        help="bits of a sample, or floating point, in WAV and FLAC"
        " (default: 16)",
    )
    add(
        "--keep-rate",
        action="store_true",
        help="bring results back to the rate of their inputs; each input is"
        " read twice",
    )
    add(
        "--keep-highs",
        action="store_true",
        help="the same, and add what an input holds above 8 kHz, as much"
        " quieter, moment by moment, as the band below became; noise up there"
        " stays where somebody speaks",
    )
    add(
        "--mix",
        type=fraction,
        default=1.0,
        metavar="X",
        help="share of the enhanced sound in the result, 0 to 1; the input is"
        " the rest (default: %(default)g)",
    )


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of shards, tables and clusters."""
    group = parser.add_argument_group(
        "other places and other machines",
        "INPUT and --output may be URLs (s3://, gs://, hdfs://, https://, ...)"
        " and INPUT may\nbe WebDataset shards (.tar) or tables with a column of"
        " audio (.parquet, .arrow);\n--column names that column, or"
        " KEY.column of a shard. docs/cluster.md says more.",
    )
    add = group.add_argument
    add(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="ray: on all machines of a Ray cluster (default: %(default)s)",
    )
    add(
        "--ray-address",
        type=non_empty,
        metavar="HOST:PORT",
        help="cluster to join (default: that of RAY_ADDRESS, else this machine"
        " alone)",
    )
    add(
        "--actors",
        type=positive,
        metavar="N",
        help="models at work (default: as many as the cluster has room for)",
    )
    add(
        "--gpus-per-actor",
        type=share,
        default=0.0,
        metavar="X",
        help="GPUs of each, 0.5 for two on one (default: none)",
    )
    add(
        "--files-per-task",
        type=positive,
        default=16,
        metavar="N",
        help="files that a model takes at a time; shards and tables are taken"
        " one by one (default: %(default)s)",
    )


def share(text: str) -> float:
    """Read a number of GPUs."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of GPUs")
    return number


def channels(text: str) -> str | int:
    """Read what channels are taken."""
    return text if text in ("mix", "each") else positive(text)


def shard(text: str) -> tuple[int, int]:
    """Read I/N."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    part, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= part <= count:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not I/N with I from 1 to N, such as 2/8"
        )
    return part, count
