"""The command `speechbrain-llase`: paths and printing.

Results are printed on standard output, the progress bar, warnings and errors
on standard error. Exit codes: 0 all done, 1 some files failed, 2 nothing was
begun (wrong usage, or the model could not be loaded), 130 interrupted.

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_llase.arguments import build_parser
from speechbrain_llase.files import Job, plan_jobs

if TYPE_CHECKING:
    from speechbrain.dataio.audio_io import AudioInfo

    from speechbrain_llase import EnhanceLLaSE

# libsndfile's names of the encodings that hold more; lossy ones have no width
WIDE_SUBTYPES = {
    "PCM_24": "24-bit",
    "PCM_32": "32-bit",
    "FLOAT": "32-bit float",
    "DOUBLE": "64-bit float",
    "ALAC_20": "20-bit",
    "ALAC_24": "24-bit",
    "ALAC_32": "32-bit",
    "DWVW_24": "24-bit",
}


@dataclass
class Tally:
    """What one run has done so far."""

    done: int = 0
    skipped: int = 0
    reduced: int = 0  # inputs that held more than the output can
    failed: list[str] = field(default_factory=list)  # "path: reason"
    audio_s: float = 0.0
    work_s: float = 0.0  # loading the model not included


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Arguments
    ---------
    argv : sequence of str, optional
        The arguments after the command's name; those of the process if None.

    Returns
    -------
    int
        The exit code.

    Example
    -------
    >>> main(["enhance", "missing.wav", "--output", "enhanced"])
    2
    """
    args = build_parser().parse_args(argv)
    try:
        return COMMANDS[args.command](args)
    except KeyboardInterrupt:
        say("interrupted; the finished files are complete")
        return 130


def enhance(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase enhance`; return the exit code."""
    output = Path(args.output)
    try:
        jobs = plan_jobs(args.inputs, output)
        check_writable(output)
    except (OSError, ValueError) as err:
        return refuse(str(err))
    todo = [job for job in jobs if args.overwrite or not job.target.exists()]
    tally = Tally(skipped=len(jobs) - len(todo))
    try:
        enhancer = load_enhancer(args) if todo else None
    except ValueError as err:
        return refuse(one_line(err))
    except (OSError, RuntimeError, KeyError) as err:
        return refuse(f"{args.source} cannot be loaded: {one_line(err)}")
    try:
        enhance_all(enhancer, todo, tally)
    finally:  # an interrupted run, too, says what it has done
        report(tally)
    return 1 if tally.failed else 0


def convert(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase convert`; return the exit code."""
    files = {"wavlm": args.wavlm, "lm": args.lm, "codec": args.codec}
    if args.w2v_bert:
        files["w2v_bert"] = args.w2v_bert
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        return refuse(f"there is no file {', '.join(missing)}")
    from speechbrain_llase import convert as converter

    try:
        manifest = converter.convert(
            files, args.output, args.dtype, args.lm_heads, args.codec_heads
        )
    except FileExistsError as err:
        return refuse(one_line(err))
    except (ValueError, OSError) as err:
        say(f"error: {one_line(err)}")
        return 1
    for name, about in manifest["files"].items():
        print(f"{args.output / name}  {about['bytes'] / 1e6:.1f} MB")
    for name, about in manifest["sources"].items():
        print(f"licence of {name} ({about['file']}): {about['licence']}")
    return 0


def doctor(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase doctor`; return the exit code."""
    from speechbrain_llase import doctor as checks

    try:
        device = pick_device(args.device)
        source = find_model(args.source)
    except ValueError as err:
        return refuse(one_line(err))
    findings = [*checks.check_packages()]
    if os.path.isdir(source):
        findings += checks.check_folder(Path(source))
    findings += checks.check_run(args.source, device, args.precision)
    for finding in findings:
        print(f"{'ok ' if finding.good else 'BAD'}  {finding.text}")
    return 0 if all(finding.good for finding in findings) else 1


def find_model(name: str) -> str:
    """Folder, URL or id of a model; a ValueError for an unknown name."""
    from speechbrain_llase.inference import resolve_source

    return resolve_source(name)


def check_writable(folder: Path) -> None:
    """Make the output folder and try to write in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as err:
        raise ValueError(
            f"--output {folder} cannot be written: {err.strerror}. Choose a "
            "folder that you may write in."
        ) from err


def load_enhancer(args: argparse.Namespace) -> "EnhanceLLaSE":
    """Load the model that the arguments ask for."""
    import torch

    from speechbrain_llase import EnhanceLLaSE

    device = pick_device(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    return EnhanceLLaSE.from_hparams(
        source=args.source,
        run_opts={"device": device, "precision": args.precision},
        overrides={"window_batch": args.batch_size} if args.batch_size else {},
    )


def pick_device(name: str) -> str:
    """Choose a device, or refuse one that this machine lacks."""
    import torch

    cudas = torch.cuda.device_count()
    if name == "auto":
        return "cuda" if cudas else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as err:
        raise ValueError(
            f"--device {name} is unknown. Use cpu, cuda or cuda:1, for example."
        ) from err
    if device.type == "cuda" and (device.index or 0) >= cudas:
        raise ValueError(
            f"--device {name} is not here ({cudas} CUDA devices found). Use "
            "another, or leave --device out."
        )
    return name


def enhance_all(
    enhancer: "EnhanceLLaSE", jobs: Sequence[Job], tally: Tally
) -> None:
    """Enhance file after file; a bad one is noted and the next one begun."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with logging_redirect_tqdm(), tqdm(jobs, unit="file", disable=None) as bar:
        for job in bar:
            start = time.perf_counter()
            try:
                audio_s, lost = enhance_one(enhancer, job)
            except (OSError, RuntimeError, ValueError) as err:
                tally.failed.append(f"{job.source}: {one_line(err)}")
                continue
            tally.work_s += time.perf_counter() - start
            tally.audio_s += audio_s
            tally.done += 1
            if lost:
                tally.reduced += 1
                bar.write(f"warning: {job.source}: {lost}", file=sys.stderr)
            bar.set_postfix_str(
                f"{tally.audio_s:.0f} s of audio, "
                f"{tally.audio_s / tally.work_s:.1f}x real time"
            )


def enhance_one(enhancer: "EnhanceLLaSE", job: Job) -> tuple[float, str]:
    """Enhance one file; return its seconds and what of it was reduced."""
    from speechbrain.dataio import audio_io

    if not job.source.is_file():  # a pipe would block, a broken link confuse
        raise ValueError("not a regular file, or a broken link")
    if not job.source.stat().st_size:
        raise ValueError("the file is empty")
    with job.source.open("rb"):
        pass  # the system's reason is clearer than the audio library's
    source = os.path.abspath(job.source)
    try:
        info = audio_io.info(source)
    except RuntimeError as err:
        reason = str(err).rpartition(": ")[2]
        raise ValueError(f"not readable as audio: {reason}") from err
    job.target.parent.mkdir(parents=True, exist_ok=True)
    enhancer.enhance_file(source, output_filename=str(job.target))
    return info.duration, reduction(info, enhancer.hparams.sample_rate)


def reduction(info: "AudioInfo", sample_rate: int) -> str:
    """Say what of an input a mono 16-bit output at `sample_rate` loses."""
    losses = []
    if info.channels > 1:
        losses.append(f"{info.channels} channels averaged to one")
    if info.sample_rate > sample_rate:
        losses.append(f"{info.sample_rate} Hz reduced to {sample_rate} Hz")
    if info.subtype in WIDE_SUBTYPES:
        losses.append(
            f"{WIDE_SUBTYPES[info.subtype]} samples reduced to 16-bit"
        )
    return ", ".join(losses)


def report(tally: Tally) -> None:
    """Print the failures, the reduced inputs and one closing line."""
    for failure in tally.failed:
        say(f"failed: {failure}")
    if tally.reduced:
        say(
            "warning: inputs that held more than 16-bit mono output does: "
            f"{tally.reduced} (named above)"
        )
    line = (
        f"{tally.done} enhanced, {tally.skipped} skipped (output exists), "
        f"{len(tally.failed)} failed; {tally.audio_s:.1f} s of audio"
    )
    if tally.audio_s:
        factor = tally.work_s / tally.audio_s
        line += f" in {tally.work_s:.1f} s, real-time factor {factor:.3f}"
    print(line)


def refuse(reason: str) -> int:
    """Say why nothing was begun; return the exit code."""
    say(f"error: {reason}")
    return 2


def say(line: str) -> None:
    """Print on standard error."""
    print(f"speechbrain-llase: {line}", file=sys.stderr)


def one_line(err: Exception) -> str:
    """Write an error's message, or else its name, in one line."""
    return " ".join(str(err).split()) or type(err).__name__


COMMANDS = {"enhance": enhance, "convert": convert, "doctor": doctor}

if __name__ == "__main__":
    sys.exit(main())
