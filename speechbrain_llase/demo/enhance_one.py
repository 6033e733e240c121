"""One file: read, enhance, mix, score, draw. No Gradio here."""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from speechbrain_llase.dataio.audio_reader import Taken, read_blocks
from speechbrain_llase.dataio.audio_writer import write_whole
from speechbrain_llase.dataio.own_rate import at_own_rate, rate_kept
from speechbrain_llase.dataio.sample_buffer import SampleSpool, SpeakerSpools
from speechbrain_llase.demo.limits import (
    Limits,
    VisitorSettings,
    check_length,
    check_upload,
    duration,
)
from speechbrain_llase.demo.models import Model
from speechbrain_llase.demo.scores import EXTRA, BeginningScorer
from speechbrain_llase.evaluation.plot import (
    darken,
    make_figure,
    save_figure,
)
from speechbrain_llase.evaluation.plot_data import track_file
from speechbrain_llase.inference.confidence import Details
from speechbrain_llase.inference.long_files import enhance_blocks
from speechbrain_llase.inference.stages import Stages
from speechbrain_llase.processing.signal_processing import (
    MATCH_BLOCK,
    GainMatcher,
)

ShowProgress = Callable[[float, str], None]  # share that is done, and words
NOISY, ENHANCED = "Noisy", "Enhanced"  # as in the picture
SPEAKERS = "Speaker 1", "Speaker 2"  # of a separation
LIGHT, DARK = "light", "dark"  # as the visitor's page is
WINDOWS = 0.85  # share of the progress bar that is theirs


@dataclass(frozen=True)
class Shared:
    """What all visitors share."""

    models: dict[str, Model]
    limits: Limits
    scorer: BeginningScorer
    folder: Path  # private; for what is made


@dataclass(frozen=True)
class EnhancedFile:
    """One enhanced file, ready to be shown."""

    name: str  # what its owner calls the input
    before: Path  # the input at 16 kHz, mono, 16 bits
    after: Path  # the output, alike
    pictures: dict[str, Path]  # LIGHT, DARK; none without matplotlib
    audio_s: float
    work_s: float  # reading and enhancing; scores and pictures not included
    scores: dict[str, dict[str, float]]  # by label, NOISY first; or none
    notes: tuple[str, ...] = ()  # what a listener should know
    full: Path | None = None  # the output at the input's rate, if asked for
    second: Path | None = None  # of two speakers, beside the one in after
    second_full: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        """What is there to be downloaded."""
        more = self.full, self.second, self.second_full
        return [self.after, *filter(None, more)]

    @property
    def players(self) -> dict[str, Path]:
        """What was made, by the label of its player."""
        return label_outputs([x for x in (self.after, self.second) if x])


def label_outputs(paths: list[Path]) -> dict[str, Path]:
    """Name one output, or two."""
    return dict(zip(SPEAKERS if len(paths) > 1 else (ENHANCED,), paths))


def enhance_upload(
    model: Model,
    path: Path,
    name: str,
    folder: Path,
    settings: VisitorSettings,
    shared: Shared,
    progress: ShowProgress,
) -> EnhancedFile:
    """Enhance one file, which its owner calls `name`.

    The model stays as it is. Input, output and picture are written into
    `folder`, which is empty. What `progress` raises ends the work. Raises a
    ValueError with words for the page.
    """
    check_upload(path, name, shared.limits)
    begin = time.perf_counter()
    notes = []
    stem = Path(name).stem or "recording"
    rate = model.enhancer.hparams.sample_rate
    stages = settings.stages(model.enhancer)
    outputs, fulls = [], []
    with ExitStack() as stack:
        noisy = stack.enter_context(SampleSpool())
        enhanced = stack.enter_context(stages.new_spool())
        read_upload(path, name, rate, shared.limits, noisy, notes)
        audio_s = noisy.length / rate
        check_length(name, audio_s, shared.limits, settings.guard)
        details = run_windows(stages, path, enhanced, progress)
        voices = enhanced.voices
        if settings.guard:
            guarded = guard_spool(model, noisy, enhanced, details, notes)
            voices = [stack.enter_context(guarded)]
        work_s = time.perf_counter() - begin
        before = folder / f"{stem}_input.wav"
        write_whole(before, fit_scale(noisy, notes, "The input"), rate)
        for k, voice in enumerate(voices, 1):
            own = f"{stem}_{k}" if len(voices) > 1 else stem
            ending = "" if len(voices) > 1 else "_enhanced"
            outputs.append(folder / f"{own}{ending}.wav")
            mixed = stack.enter_context(SampleSpool())
            for block in mix_blocks(noisy, voice, settings.wet):
                mixed.write(block)
            blocks = fit_scale(mixed, notes, "The result")
            write_whole(outputs[-1], blocks, rate)
            fulls.append(None)
            if settings.keep_highs:
                fulls[-1] = folder / f"{own}_full.wav"
                write_full(fulls[-1], path, mixed, rate, notes)
    if not details:
        notes.append("Nothing was heard in the input: it is silent.")
    progress(WINDOWS, "scores")
    scores = score_all(
        {NOISY: before} | label_outputs(outputs),
        audio_s,
        settings,
        shared.scorer,
        notes,
    )
    progress(0.95, "picture")
    pictures = draw_pictures(before, outputs[0], details, notes)
    found = pictures, audio_s, work_s, scores, tuple(notes)
    more = (x for pair in zip(outputs[1:], fulls[1:]) for x in pair)
    return EnhancedFile(name, before, outputs[0], *found, fulls[0], *more)


def read_upload(
    path: Path,
    name: str,
    rate: int,
    limits: Limits,
    noisy: SampleSpool,
    notes: list[str],
) -> None:
    """Read the input at `rate`, mono; stop where it grows too long.

    `notes` get what is wrong with it.
    """

    def check(seconds: float) -> None:
        check_length(name, seconds, limits)

    def note(remark: str) -> None:
        notes.append(f"The input: {remark}.")

    try:
        for block in read_blocks(path, rate, warn=note, check=check):
            noisy.write(block)
    except ValueError as err:
        raise ValueError(str(err).replace(str(path), name)) from err


def run_windows(
    stages: Stages,
    path: Path,
    enhanced: SampleSpool | SpeakerSpools,
    progress: ShowProgress,
) -> Details:
    """Run the windows, as `EnhanceLLaSE.stream_file` does."""

    def tell(done: int, whole: int) -> None:
        progress(WINDOWS * done / whole, "enhancing")

    progress(0.0, "enhancing")
    details = []
    for block in enhance_blocks(stages, path, progress=tell, details=details):
        enhanced.write(block)
    return Details.cat(details)


def guard_spool(
    model: Model,
    noisy: SampleSpool,
    enhanced: SampleSpool,
    details: Details,
    notes: list[str],
) -> SampleSpool:
    """Apply the guard of the model's YAML; note what it did."""
    guard = copy.copy(model.enhancer.guard)
    guard.enabled = True
    waves = [torch.cat(list(x.blocks(MATCH_BLOCK))) for x in (noisy, enhanced)]
    rate = model.enhancer.hparams.sample_rate
    wav, decisions = guard(*waves, details, rate)
    held = [decision for decision in decisions if decision.reasons]
    if held:
        parts = f"{len(held)} of {len(decisions)} parts"
        part = "the whole file" if len(decisions) == 1 else parts
        reasons = sorted({reason for x in held for reason in x.reasons})
        notes.append(
            f"The guard let the input pass for {part} ({', '.join(reasons)})."
        )
    else:
        notes.append("The guard found nothing wrong.")
    kept = SampleSpool()
    kept.write(wav)
    return kept


def mix_factors(gain: float, wet: float) -> tuple[float, float]:
    """Factors of input and output in a mix that holds the share `wet` of it.

    Their speech is brought to one level, which moves in equal steps of dB
    from the input's (wet=0) to the output's (wet=1), so that a mix is never
    louder than both. `gain` is what brings the output's speech to its level
    in the input; 0 where one is silent and there is nothing to match.

    Example
    -------
    >>> mix_factors(4.0, 0.0), mix_factors(4.0, 0.5), mix_factors(4.0, 1.0)
    ((1.0, 0.0), (0.25, 1.0), (0.0, 1.0))
    """
    if not 0 <= wet <= 1:
        raise ValueError(f"wet={wet} must lie in [0, 1].")
    gain = gain or 1.0
    return (1.0 - wet) * gain**-wet, wet * gain ** (1.0 - wet)


def mix_blocks(
    noisy: SampleSpool, enhanced: SampleSpool, wet: float
) -> Iterator[torch.Tensor]:
    """Blocks (T,) of the mix of two signals of one length.

    It is made sample by sample, for the model adds no delay: wet=0 gives the
    one back and wet=1 the other, bit for bit. It may go beyond full scale.
    """
    matcher = GainMatcher()
    pair = noisy, enhanced
    for dry, pure in zip(*(x.blocks(MATCH_BLOCK) for x in pair)):
        matcher.add(pure, dry)
    dry_factor, wet_factor = mix_factors(matcher.gain(), wet)
    for dry, pure in zip(*(x.blocks(MATCH_BLOCK) for x in pair)):
        yield dry_factor * dry + wet_factor * pure


def fit_scale(
    spool: SampleSpool, notes: list[str], what: str
) -> Iterator[torch.Tensor]:
    """Blocks (T,) of a signal, scaled down if it is over full scale."""
    if spool.peak > 1:
        notes.append(
            f"{what} peaked at {spool.peak:.2f}; it was scaled to full scale."
        )
    for block in spool.blocks(MATCH_BLOCK):
        yield block / spool.peak if spool.peak > 1 else block


def write_full(
    full: Path, path: Path, mixed: SampleSpool, rate: int, notes: list[str]
) -> None:
    """Write a result at the rate of its input, with what that holds above."""
    taken = Taken(keep_highs=True)

    def note(remark: str) -> None:
        notes.append(f"The file at the input's rate: {remark}.")

    blocks = fit_scale(mixed, [], "")
    blocks = at_own_rate(blocks, path, taken, rate, note)
    write_whole(full, blocks, rate_kept(path, taken, rate))


def score_all(
    paths: dict[str, Path],
    audio_s: float,
    settings: VisitorSettings,
    scorer: BeginningScorer,
    notes: list[str],
) -> dict[str, dict[str, float]]:
    """Score input and outputs, where it was asked for and can be done."""
    if not settings.score or scorer.missing:
        return {}
    if audio_s > scorer.scored_s:
        part = duration(scorer.scored_s)
        notes.append(f"DNSMOS is that of the first {part}.")
    return {label: scorer(path) for label, path in paths.items()}


def draw_pictures(
    before: Path, after: Path, details: Details, notes: list[str]
) -> dict[str, Path]:
    """Draw the result beside it, on light and dark paper.

    Nothing, if matplotlib is not installed.
    """
    pictures = {kind: after.with_name(f"{kind}.png") for kind in (LIGHT, DARK)}
    entropy = details.entropy.numpy() if details else None
    try:
        tracks = track_file(before), track_file(after)
        figure = make_figure(*tracks, entropy)
    except ImportError:
        notes.append(
            f"Pictures need matplotlib, which is not installed here: {EXTRA}."
        )
        return {}
    save_figure(figure, pictures[LIGHT])
    darken(figure)
    save_figure(figure, pictures[DARK])
    return pictures
