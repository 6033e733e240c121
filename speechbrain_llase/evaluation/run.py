"""Score many clips, in one process or in several."""

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor

from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.evaluation.scoring import Scorer, Scores, Settings

AHEAD = 4  # clips a process that are made before the first is scored
_worker = {}  # the scorer of a process, built once


def score_clips(
    clips: Iterable[Clip], settings: Settings, jobs: int = 1
) -> Iterator[Scores]:
    """Score clips in their order.

    Arguments
    ---------
    clips : iterable of Clip
        May be made on the way: only a few are taken ahead.
    settings : Settings
        What to measure.
    jobs : int
        Processes; 1 scores in this one.

    Yields
    ------
    scores : Scores

    Raises
    ------
    ImportError, ValueError
        If a measure cannot be built; before any clip is taken.
    """
    scorer = Scorer(settings)
    if jobs == 1:
        yield from map(scorer, clips)
        return
    del scorer  # it has shown that all can be built
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        jobs, spawn, initializer=_start, initargs=(settings,)
    ) as pool:
        pending: list[Future] = []
        for clip in clips:
            pending.append(pool.submit(_score, clip))
            if len(pending) > AHEAD * jobs:
                yield pending.pop(0).result()
        for future in pending:
            yield future.result()


def _start(settings):
    """Build the scorer of a process, which takes one core."""
    import torch

    torch.set_num_threads(1)
    _worker["scorer"] = Scorer(settings)


def _score(clip):
    return _worker["scorer"](clip)
