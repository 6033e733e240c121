"""Enhance a file of any length in flat memory.

Three passes: read it (at the model's rate, in mono) and find its peak; run
the windows; scale the result to the level of the speech in the input. What
lies between the passes is put aside in temporary files, twice 64 kB a second
of audio.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
from speechbrain.utils.logger import get_logger

from speechbrain_llase.dataio.audio_reader import Taken, read_blocks
from speechbrain_llase.dataio.sample_buffer import SampleSpool, SpeakerSpools
from speechbrain_llase.dataio.sound_file import open_sound
from speechbrain_llase.inference.confidence import Details
from speechbrain_llase.inference.stages import Stages
from speechbrain_llase.inference.window_stream import (
    Steps,
    WindowStream,
    drive,
)
from speechbrain_llase.processing.framing import MIN_SAMPLES
from speechbrain_llase.processing.signal_processing import (
    MATCH_BLOCK,
    GainMatcher,
)

logger = get_logger(__name__)
FED = 1 << 16  # samples that are fed at a time; 4 s at 16 kHz


def enhance_blocks(
    stages: Stages,
    path: str | Path,
    taken: Taken = Taken(),
    progress: Callable[[int, int], None] | None = None,
    details: list[Details] | None = None,
) -> Iterator[torch.Tensor]:
    """Enhance a local file: float32 (T,) each, on the CPU, in [-1, 1].

    Of a separation, (T, 2) each, and (T, C) where each channel is `taken`. A
    result over full scale is scaled down, with a warning. `progress` is called
    with the samples done and the samples in all, at the model's rate; a list
    of details gets those of all windows, in order. A ValueError before any
    block, if the file cannot be read.
    """
    if taken.channels == "each":
        yield from each_channel(stages, path, progress, details, taken.track)
        return
    with ExitStack() as stack:
        noisy, *others = (
            stack.enter_context(spooled(*read, stages.hparams.sample_rate))
            for read in (
                (path, taken),
                *((x, Taken()) for x in stages.references_of(1)),
            )
        )
        reference = stages.beside(noisy, others[0]) if others else None
        enhanced = stack.enter_context(stages.new_spool())
        windows = WindowStream(stages, details=details, reference=reference)
        drive(window_steps(windows, noisy, enhanced, progress))
        peaks, blocks = restored_blocks(stages, noisy, enhanced)
        if max(peaks) > 1:
            logger.warning(
                "%s: the result peaks at %.2f; scaled to full scale.",
                path,
                max(peaks),
            )
        yield from blocks


def each_channel(
    stages: Stages,
    path: str | Path,
    progress: Callable[[int, int], None] | None,
    details: list[Details] | None,
    track: int,
) -> Iterator[torch.Tensor]:
    """Enhance every channel in its own right, one after the other: (T, C)."""
    with open_sound(path, track) as sound:
        numbers = range(1, sound.channels + 1)
    ways = [
        enhance_blocks(stages, path, Taken(number, track), progress, details)
        for number in numbers
    ]
    for blocks in zip(*ways, strict=True):
        yield torch.stack(blocks, 1)


def spooled(path: str | Path, taken: Taken, sample_rate: int) -> SampleSpool:
    """Put a file's samples aside."""
    spool = SampleSpool()
    for block in read_blocks(path, sample_rate, taken):
        spool.write(block)
    return spool


def restored_blocks(
    stages: Stages, noisy: SampleSpool, enhanced: SampleSpool | SpeakerSpools
) -> tuple[list[float], Iterator[torch.Tensor]]:
    """Bring a result to its level: its peaks, and blocks (T,) or (T, 2).

    A voice whose peak would be above 1 is scaled down.
    """
    found = [output_gain(stages, noisy, voice) for voice in enhanced.voices]

    def scaled() -> Iterator[torch.Tensor]:
        spools = [voice.blocks(MATCH_BLOCK) for voice in enhanced.voices]
        for some in zip(*spools, strict=True):
            parts = [x * gain for x, (gain, _) in zip(some, found)]
            yield parts[0] if len(parts) == 1 else torch.stack(parts, 1)

    return [peak for _, peak in found], scaled()


def window_steps(
    windows: WindowStream,
    noisy: SampleSpool,
    enhanced: SampleSpool | SpeakerSpools,
    progress: Callable[[int, int], None] | None = None,
) -> Steps[None]:
    """Run the model over a whole signal; write as many samples as it has."""
    if noisy.peak == 0 or noisy.length < MIN_SAMPLES:
        for block in noisy.blocks(FED):
            enhanced.write(torch.zeros_like(block))
        return
    device = windows.stages.device
    scale = windows.stages.fed_scale(noisy.peak)
    for block in noisy.blocks(FED):
        # as `to_peak` does for a tensor
        ready = yield from windows.take(block.to(device) / scale)
        enhanced.write(ready)
        if progress:
            progress(enhanced.length, noisy.length)
    rest = yield from windows.end()
    enhanced.write(rest[: noisy.length - enhanced.length])
    missing = noisy.length - enhanced.length
    enhanced.write(torch.zeros(missing))
    if progress:
        progress(noisy.length, noisy.length)


def output_gain(
    stages: Stages, noisy: SampleSpool, enhanced: SampleSpool
) -> tuple[float, float]:
    """Factor of the result, at most to full scale, and its peak without that.

    Above a peak of 1 the result is scaled down. Where the input is mixed in,
    this is done here, once.
    """
    gain = restoring_gain(stages, noisy, enhanced)
    if stages.mix < 1:
        enhanced.blend(noisy, gain * stages.mix, 1 - stages.mix)
        gain = 1.0
    peak = gain * enhanced.peak
    return (gain / peak if peak > 1 else gain), peak


def restoring_gain(
    stages: Stages, noisy: SampleSpool, enhanced: SampleSpool
) -> float:
    """Gain that brings speech back to its level in the input."""
    if stages.keeps_level:
        return stages.fed_scale(noisy.peak)
    if not stages.hparams.restore_level:
        return 1.0
    matcher = GainMatcher()
    pairs = zip(
        enhanced.blocks(MATCH_BLOCK), noisy.blocks(MATCH_BLOCK), strict=True
    )
    for ours, theirs in pairs:
        both = ours.to(stages.device), theirs.to(stages.device)
        matcher.add(*stages.comparable(*both))
    return matcher.gain()
