"""Windows: nothing is lost or moved, for every length near a boundary."""

import pytest
import torch

from speechbrain_llase.inference.windows import (
    cut_audio,
    join_context,
    plan_windows,
    seconds_to_rows,
    stitch,
)
from speechbrain_llase.processing.framing import num_rows
from speechbrain_llase.processing.signal_processing import fit_length

HOP = 320
WINDOW, CONTEXT = 5, 2  # rows: small, so that all lengths can be tried


@pytest.mark.parametrize("num_rows_", range(0, 31))
@pytest.mark.parametrize("context", [0, 1, 2, 7])
def test_kept_rows_follow_one_another(num_rows_, context):
    """Kept rows cover [0, N) once; context stays inside the file."""
    plan = plan_windows(num_rows_, WINDOW, context)
    rows = [r for w in plan for r in range(w.start, w.stop)]
    assert rows == list(range(num_rows_))
    for w in plan:
        assert w.start - w.left >= 0 and w.stop + w.right <= num_rows_
        assert w.left == min(context, w.start)
        assert w.right == min(context, num_rows_ - w.stop)


def identity_rows(wav: torch.Tensor) -> torch.Tensor:
    """Stand in for the frontend: row n holds the samples from 320 n on.

    As the real one, it gives `num_rows` rows of which the last is zero, so
    the samples of that row are known to nobody.
    """
    count = num_rows(len(wav))
    rows = fit_length(wav, count * HOP).view(count, HOP).clone()
    rows[-1] = 0
    return rows


@pytest.mark.parametrize("context", [0, 1, 2])
@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("crossfade", [0, 300, 640])
def test_identity_model_gives_the_input_back(context, joined, crossfade):
    """For every length from 400 samples up to over three windows.

    All samples that lie in a row with features come back at their place.
    Lengths near every row's boundary are tried, 1 sample apart.
    """
    edge = WINDOW * HOP
    near = {e + d for e in range(edge, 4 * edge, HOP) for d in range(-2, 90)}
    lengths = sorted({*range(400, 900, 7), *near})
    samples = torch.arange(1, 4 * edge + 100, dtype=torch.float64)
    for length in lengths:
        wav = samples[:length]
        plan = plan_windows(num_rows(length), WINDOW, context)
        feats = [identity_rows(p) for p in cut_audio(wav, plan, context)]
        if joined:
            feats = join_context(feats, plan)
        pieces = [f.flatten() for f in feats]
        out = fit_length(stitch(pieces, plan, HOP, crossfade), length)
        assert out.shape == wav.shape
        zero_rows = {num_rows(length) - 1}
        if context == 0:  # then every window ends in a zero row of its own
            zero_rows |= {w.stop - 1 for w in plan}
        known = [r for r in range(length // HOP) if r not in zero_rows]
        if crossfade and not joined:
            seams = {w.start for w in plan[1:]}
            known = [r for r in known if not near_seam(r, seams)]
        for row in known:
            part = slice(row * HOP, (row + 1) * HOP)
            assert torch.equal(out[part], wav[part]), (length, row)


def near_seam(row: int, seams: set[int]) -> bool:
    """Whether a crossfade reaches the zero row at a window's own end."""
    return any(abs(row - seam) <= CONTEXT for seam in seams)


def test_crossfade_is_linear_and_sums_to_one():
    """Two windows that disagree are blended; equal ones stay as they are."""
    plan = plan_windows(4, 2, 1)
    ones, threes = torch.ones(3 * HOP), 3 * torch.ones(3 * HOP)
    blended = stitch([ones, threes], plan, HOP, crossfade=HOP)
    seam = 2 * HOP
    assert (blended[: seam - HOP // 2] == 1).all()
    assert (blended[seam + HOP // 2 :] == 3).all()
    middle = blended[seam - HOP // 2 : seam + HOP // 2]
    steps = middle.diff()
    assert torch.allclose(steps, steps[0].expand_as(steps), atol=1e-4)
    assert float(middle.mean()) == pytest.approx(2, abs=1e-4)
    assert torch.equal(
        stitch([ones, ones], plan, HOP, HOP), torch.ones(4 * HOP)
    )


def test_crossfade_takes_the_right_samples():
    """A ramp over the whole file survives a crossfade unchanged."""
    plan = plan_windows(10, 4, 2)
    ramp = torch.arange(10 * HOP, dtype=torch.float64)
    pieces = [
        ramp[(w.start - w.left) * HOP : (w.stop + w.right) * HOP] for w in plan
    ]
    assert torch.allclose(stitch(pieces, plan, HOP, 4 * HOP), ramp)


def test_seconds_to_rows():
    """Multiples of 20 ms are allowed, others named with the nearest."""
    assert seconds_to_rows("window_s", 10.0, 0.02) == 500
    with pytest.raises(ValueError, match=r"window_s=0\.03 .* nearest is 0\.0"):
        seconds_to_rows("window_s", 0.03, 0.02)
    with pytest.raises(ValueError, match="not negative"):
        seconds_to_rows("context_s", -1, 0.02)
