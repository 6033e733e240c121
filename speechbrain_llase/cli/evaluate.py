"""`speechbrain-llase evaluate`: how good are enhanced files?"""

import argparse
import dataclasses
from pathlib import Path

from speechbrain_llase.cli.common import (
    add_command,
    add_folder,
    make_output,
    one_line,
    positive,
    refuse,
    say,
)

HELP = """\
Score enhanced speech beside its noisy input: DNSMOS (P.835 and P.808), word
changes, speaker similarity, level and length; with --clean also PESQ-WB,
ESTOI and SI-SDR, with --text also word error; by --task what echo, packet loss
and separation are measured by. Files match by name.

DNSMOS alone misleads: a generative enhancer can score high and say other
words. Read word changes (dWER) and speaker similarity beside it. SI-SDR is
unfit for generated waves.
"""
EPILOG = """\
examples:
  speechbrain-llase evaluate --noisy noisy --enhanced enhanced --output scores
      the recogniser and the speaker model come from the Hugging Face hub
  speechbrain-llase evaluate --noisy noisy --enhanced enhanced --clean clean \\
      --asr pocketsphinx --speaker resemblyzer --output scores --jobs 4
      everything offline: both models come inside Python packages

dWER counts the words that the recogniser reads otherwise than in the clean
file (in the noisy one without --clean), over the words it reads there.
Figures of different recognisers or speaker models do not compare.

The output folder gets scores.csv (one line a file), summary.json (means with
95 % bootstrap intervals; what was skipped, and why) and distributions.png.
What a measure refuses is counted as skipped, never as zero. A measure whose
package is not installed is left out, unless --measures asks for it. Samples
beyond full scale, as decoders make them, are clipped and counted.

exit codes: 0 all clips scored, 1 some clips could not be, 2 nothing was begun.

warning: a hub model's YAML runs code: use only those you trust.
"""

DEFAULT_ASR = "speechbrain/asr-crdnn-rnnlm-librispeech"
DEFAULT_SPEAKER = "speechbrain/spkrec-ecapa-voxceleb"
MEASURE_NAMES = "dnsmos pesq estoi si-sdr words speaker level".split()
TASK_MEASURES = ["plcmos", "aecmos", "erle"]
AGAINST_CLEAN = ("pesq", "estoi", "si-sdr")


def add_parser(subparsers) -> None:
    """Describe the sub-command `evaluate`."""
    summary = "score enhanced files"
    parser = add_command(subparsers, "evaluate", run, summary, HELP, EPILOG)
    add_folder(parser, "--noisy", "the inputs")
    add_folder(parser, "--enhanced", "results")
    add = parser.add_argument
    add("--clean", type=Path, metavar="DIR", help="the clean originals")
    add(
        "--text",
        type=Path,
        metavar="FILE",
        help="what is said: on each line a name and the words",
    )
    add_folder(parser, "--output", "folder of the report, made if missing")
    add(
        "--task",
        choices=["se", "plc", "aec", "tse", "ss"],
        default="se",
        help="plc adds PLCMOS; aec AECMOS and ERLE; of ss each NAME has a"
        " NAME_1 and a NAME_2 among the others, put in order by SI-SDR"
        " (default: %(default)s)",
    )
    add(
        "--reference",
        type=Path,
        metavar="DIR",
        help="what the loudspeaker played, for --task aec",
    )
    add_measure_options(parser)


def add_measure_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `read_settings` takes, and --jobs."""
    add_listeners(parser)
    add = parser.add_argument
    add(
        "--measures",
        nargs="+",
        metavar="MEASURE",
        choices=MEASURE_NAMES + TASK_MEASURES,
        help=f"only these of: {', '.join(MEASURE_NAMES)}, and of a task's"
        f" {', '.join(TASK_MEASURES)} (default: all that can"
        " be measured here)",
    )
    add(
        "--without",
        nargs="+",
        default=[],
        metavar="MEASURE",
        choices=MEASURE_NAMES + TASK_MEASURES,
        help="leave out some of them",
    )
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder that keeps the recogniser's readings for a next time",
    )
    add(
        "--asr-device",
        default="cpu",
        metavar="DEVICE",
        help="of SpeechBrain's recogniser and speaker model (default: cpu)",
    )
    add(
        "--jobs",
        default=1,
        type=positive,
        metavar="N",
        help="processes that score (default: 1)",
    )


def add_listeners(parser: argparse.ArgumentParser) -> None:
    """Add --asr and --speaker, the models that listen."""
    add = parser.add_argument
    add(
        "--asr",
        default=DEFAULT_ASR,
        metavar="NAME|DIR|ORG/NAME",
        help="recogniser: whisper (tiny.en), whisper:NAME or whisper:FOLDER,"
        " pocketsphinx (offline, weak), a folder or a hub id of a"
        " SpeechBrain model (default: %(default)s)",
    )
    add(
        "--speaker",
        default=DEFAULT_SPEAKER,
        metavar="NAME|DIR|ORG/NAME",
        help="speaker model: resemblyzer (offline), a folder or a hub id of a"
        " SpeechBrain model (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase evaluate`; return the exit code."""
    from speechbrain_llase.evaluation import clips as clips_of
    from speechbrain_llase.evaluation.voices import find_voices

    folders = {"noisy": args.noisy, "enhanced": args.enhanced}
    if args.clean:
        folders["clean"] = args.clean
    if (args.task == "aec") != bool(args.reference):
        return refuse("--task aec and --reference go together")
    if args.reference:
        folders["reference"] = args.reference
    find = find_voices if args.task == "ss" else clips_of.find_clips
    try:
        texts = clips_of.read_texts(args.text) if args.text else {}
        clips, skipped = find(folders, texts)
        unknown = sorted(set(texts) - {clip.name for clip in clips})
        if len(unknown) == len(texts) and texts:
            raise ValueError(
                f"No name in {args.text} is that of a file; they begin with "
                f"{unknown[0]!r}, the files with {clips[0].name!r}."
            )
        make_output(args.output)
        settings = leave_out(args, read_settings(args))
        scores = score(clips, settings, args.jobs)
    except (ValueError, OSError, ImportError) as err:
        return refuse(f"{one_line(err)} (or see --without)")
    return write_report(args, scores, skipped, settings)


def read_settings(args: argparse.Namespace):
    """Give the arguments as `Settings`."""
    from speechbrain_llase.evaluation.scoring import Settings

    without = list(args.without)
    if args.measures:
        names = (*MEASURE_NAMES, *TASK_MEASURES)
        without += [name for name in names if name not in args.measures]
    if not getattr(args, "clean", True):  # needed to compare samples
        without += AGAINST_CLEAN
    return Settings(
        asr=args.asr,
        speaker=args.speaker,
        without=tuple(dict.fromkeys(without)),
        device=args.asr_device,
        cache=args.cache,
        task=getattr(args, "task", "se"),
    )


def leave_out(args: argparse.Namespace, settings):
    """Leave out what cannot be measured for want of a package, and say so.

    An ImportError if such a measure was asked for by name, a ValueError if one
    was that these files or this task do not have.
    """
    from speechbrain_llase.evaluation.scoring import find_missing

    known = {*settings.wanted, *args.without}
    unfit = [x for x in args.measures or () if x not in known]
    if unfit:
        raise ValueError(
            f"{', '.join(unfit)} cannot be measured: {', '.join(AGAINST_CLEAN)} "
            "need --clean, plcmos is of --task plc, aecmos and erle of "
            "--task aec."
        )
    missing = find_missing(settings)
    asked = set(args.measures or ())
    asked |= {"words"} if args.asr != DEFAULT_ASR else set()
    asked |= {"speaker"} if args.speaker != DEFAULT_SPEAKER else set()
    for measure, how in missing.items():
        if measure in asked:
            raise ImportError(f"{measure} needs a package: {how}")
        say(f"{measure} is left out for want of a package: {how}")
    without = (*settings.without, *missing)
    return dataclasses.replace(settings, without=without)


def score(clips, settings, jobs: int, desc: str = "score") -> list:
    """Score all clips behind a progress bar."""
    from tqdm import tqdm

    from speechbrain_llase.evaluation.scoring import score_clips

    scored = score_clips(clips, settings, jobs)
    total = len(clips) if hasattr(clips, "__len__") else None
    return list(tqdm(scored, desc=desc, unit="clip", total=total, disable=None))


def write_report(
    args: argparse.Namespace, scores: list, skipped: list, settings
) -> int:
    """Write the report, print its table; return the exit code."""
    from speechbrain_llase.evaluation.report import (
        plot_distributions,
        write_csv,
        write_json,
    )
    from speechbrain_llase.evaluation.summary import summarise, table

    skipped = [*skipped, *(skip for x in scores for skip in x.skipped)]
    summary = summarise(scores)
    write_csv(args.output / "scores.csv", scores)
    write_json(args.output / "summary.json", summary, skipped, settings)
    whole = [skip for skip in skipped if not skip.row]
    for skip in whole:
        say(f"skipped: {skip.clip}: {skip.reason}")
    if not summary:
        say("error: no clip could be scored")
        return 1
    try:
        plot_distributions(args.output / "distributions.png", scores, summary)
    except ImportError as err:
        say(f"no picture: {one_line(err)}")
    scored = sum(1 for x in scores if x.rows)
    print(f"{scored} clips, {len(whole)} skipped; mean (95 % interval)\n")
    print(table(summary))
    counts = [count for x in scores for count in x.beyond.values()]
    if counts:
        print(
            f"\n{len(counts)} waves reach beyond full scale, in "
            f"{sum(counts)} samples, which were clipped."
        )
    figures = [skip for skip in skipped if skip.row]
    if figures:
        print(f"\n{len(figures)} figures skipped; summary.json says why.")
    return 1 if whole else 0
