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

from speechbrain_llase.dataio.audio_reader import read_blocks
from speechbrain_llase.dataio.sample_buffer import SampleSpool
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
    progress: Callable[[int, int], None] | None = None,
    details: list[Details] | None = None,
) -> Iterator[torch.Tensor]:
    """Enhance a local file: float32 (T,) each, on the CPU, in [-1, 1].

    A result over full scale is scaled down, with a warning. `progress` is
    called with the samples done and the samples in all, at the model's rate; a
    list of details gets those of all windows, in order. A ValueError before
    any block, if the file cannot be read.
    """
    with ExitStack() as stack:
        noisy = stack.enter_context(SampleSpool())
        for block in read_blocks(path, stages.hparams.sample_rate):
            noisy.write(block)
        enhanced = stack.enter_context(SampleSpool())
        windows = WindowStream(stages, details=details)
        drive(window_steps(windows, noisy, enhanced, progress))
        gain, peak = output_gain(stages, noisy, enhanced)
        if peak > 1:
            logger.warning(
                "%s: the result peaks at %.2f; scaled to full scale.",
                path,
                peak,
            )
        for block in enhanced.blocks(MATCH_BLOCK):
            yield block * gain


def window_steps(
    windows: WindowStream,
    noisy: SampleSpool,
    enhanced: SampleSpool,
    progress: Callable[[int, int], None] | None = None,
) -> Steps[None]:
    """Run the model over a whole signal; write as many samples as it has."""
    if noisy.peak == 0 or noisy.length < MIN_SAMPLES:
        for block in noisy.blocks(FED):
            enhanced.write(torch.zeros_like(block))
        return
    device = windows.stages.device
    for block in noisy.blocks(FED):
        # as `to_peak` does for a tensor
        ready = yield from windows.take(block.to(device) / noisy.peak)
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

    Above a peak of 1 the result is scaled down.
    """
    gain = restoring_gain(stages, noisy, enhanced)
    peak = gain * enhanced.peak
    return (gain / peak if peak > 1 else gain), peak


def restoring_gain(
    stages: Stages, noisy: SampleSpool, enhanced: SampleSpool
) -> float:
    """Gain that brings speech back to its level in the input."""
    if stages.keeps_level:
        return noisy.peak
    if not stages.hparams.restore_level:
        return 1.0
    matcher = GainMatcher()
    pairs = zip(
        enhanced.blocks(MATCH_BLOCK), noisy.blocks(MATCH_BLOCK), strict=True
    )
    for ours, theirs in pairs:
        matcher.add(ours.to(stages.device), theirs.to(stages.device))
    return matcher.gain()
