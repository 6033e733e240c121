"""Files that share batches get what they get alone.

Bit for bit where a batch is one window. In larger ones the products of other
matrix sizes may be rounded otherwise: within one step of 16 bits.
"""

import io
from contextlib import nullcontext

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.bulk.batcher import enhance_many
from speechbrain_llase.bulk.open_file import CannotGoOn
from speechbrain_llase.dataio import media_file

SMALL = {"window_s": 0.4, "context_s": 0.1, "crossfade_s": 0.04}
STEP = 1 / 32768  # of 16 bits
LENGTHS = [16000, 1, 399, 400, 6400, 6401, 0.0, 20000, 8079, 33000, 700]


@pytest.fixture(scope="module", params=["joined", "own"])
def model(request, load_tiny):
    """The tiny model in windows so short that a second has several."""
    return load_tiny(
        **SMALL, context_from=request.param, restore_level=True, window_batch=5
    )


def make_file(k: int, length: float) -> bytes:
    """Make a WAV file of noise; a length of 0.0 stands for silence."""
    rng = np.random.default_rng(k)
    wav = rng.uniform(-0.5, 0.5, int(length)) if length else np.zeros(8000)
    file = io.BytesIO()
    soundfile.write(file, wav, 16000, "FLOAT", format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Files in memory by name."""
    return {str(k): make_file(k, n) for k, n in enumerate(LENGTHS)}


def enhance(model, files, names=None, **kwargs):
    """Enhance files in memory; return outcomes and waves by name."""
    waves, outcomes = {}, {}

    def write(outcome, blocks):
        waves[outcome.job] = torch.cat(list(blocks))

    work = enhance_many(
        model,
        names or files,
        lambda name: nullcontext(io.BytesIO(files[name])),
        write,
        **kwargs,
    )
    for outcome in work:
        assert outcome.job not in outcomes
        outcomes[outcome.job] = outcome
    return outcomes, waves


def test_files_that_share_batches_get_what_they_get_alone(
    model, files, tmp_path
):
    """In whatever order; and the confidence is that of the report."""
    outcomes, waves = enhance(model, files)
    _, turned = enhance(model, files, list(reversed(files)))
    assert set(outcomes) == set(files)
    for name, content in files.items():
        path = tmp_path / f"{name}.wav"
        path.write_bytes(content)
        alone = model.enhance_file(path)
        torch.testing.assert_close(waves[name], alone, atol=STEP, rtol=0)
        torch.testing.assert_close(turned[name], alone, atol=STEP, rtol=0)
        outcome = outcomes[name]
        assert outcome.error is None and outcome.work_s > 0
        assert outcome.seconds == len(alone) / 16000
        _, report = model.enhance_file(path, return_details=True)
        if len(report.details):
            confidence = report.details.summary().log_prob
            assert outcome.confidence == pytest.approx(confidence, abs=1e-3)
        else:
            assert outcome.confidence is None


@pytest.mark.parametrize("scheme", ["joined", "own"])
def test_windows_that_run_alone_are_exact(load_tiny, files, tmp_path, scheme):
    model = load_tiny(**SMALL, context_from=scheme, restore_level=True)
    model.hparams.window_batch = 1
    _, waves = enhance(model, files)
    for name, content in files.items():
        (tmp_path / "a.wav").write_bytes(content)
        assert torch.equal(waves[name], model.enhance_file(tmp_path / "a.wav"))


def test_windows_of_several_files_run_together(model, files, monkeypatch):
    sizes = []
    extract = model.stages.extract

    def counted(wavs):
        sizes.append(len(wavs))
        return extract(wavs)

    monkeypatch.setattr(model.stages, "extract", counted)
    enhance(model, files)
    assert sizes[:3] == [5, 5, 5] and sum(sizes) == 19 and len(sizes) == 5


def test_few_files_are_open_at_once(model, monkeypatch):
    """A thousand files are not all read before the first is written."""
    content = make_file(0, 3000)
    taken, most, written = 0, 0, 0

    def jobs():
        nonlocal taken, most
        for k in range(60):
            taken += 1
            most = max(most, taken - written)
            yield k

    def write(outcome, blocks):
        nonlocal written
        written += len(torch.cat(list(blocks))) == 3000

    source = lambda job: nullcontext(io.BytesIO(content))  # noqa: E731
    assert len(list(enhance_many(model, jobs(), source, write))) == 60
    assert written == 60 and most <= 11


BAD = {
    "empty": b"",
    "words": b"These are words.\n" * 99,
    "cut": make_file(0, 9000)[:40],
    "no samples": make_file(0, 1)[:-4],
}


@pytest.mark.parametrize("name", [*BAD, "NaN", "broken in the middle"])
def test_a_bad_file_fails_alone(model, files, name, monkeypatch):
    monkeypatch.setattr(media_file, "has_av", lambda: False)
    if name == "NaN":
        file = io.BytesIO()
        soundfile.write(
            file, np.full(800, np.nan), 16000, "FLOAT", format="WAV"
        )
        content = file.getvalue()
    elif name == "broken in the middle":
        file = io.BytesIO()
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, 160000)
        soundfile.write(file, noise, 16000, format="FLAC")
        content = bytearray(file.getvalue())
        content[100_000:200_000] = bytes(100_000)
    else:
        content = BAD[name]
    if name == "no samples":
        content = io.BytesIO()
        soundfile.write(content, np.zeros(0), 16000, "FLOAT", format="WAV")
        content = content.getvalue()
    some = {"first": files["0"], "bad": bytes(content), "last": files["7"]}
    outcomes, waves = enhance(model, some)
    assert outcomes["bad"].error and "\n" not in outcomes["bad"].error
    assert set(waves) == {"first", "last"}
    _, alone = enhance(model, {"last": files["7"]})
    torch.testing.assert_close(waves["last"], alone["last"], atol=STEP, rtol=0)


def test_a_batch_that_is_too_large_is_run_window_by_window(
    model, files, monkeypatch
):
    """A window that fails alone fails its file, and no other."""
    _, expected = enhance(model, files)
    extract = model.stages.extract
    bad = 8079  # samples of the file whose last window fails

    def tight(wavs):
        if len(wavs) > 1 or len(wavs[0]) == bad % 6400 + 1600:
            raise RuntimeError("out of memory")
        return extract(wavs)

    monkeypatch.setattr(model.stages, "extract", tight)
    outcomes, waves = enhance(model, files)
    failed = [name for name, x in outcomes.items() if x.error]
    assert failed == [str(LENGTHS.index(bad))]
    assert outcomes[failed[0]].error == "out of memory"
    for name in waves:
        torch.testing.assert_close(
            waves[name], expected[name], atol=STEP, rtol=0
        )


def test_a_result_that_cannot_be_written_fails_alone(model, files):
    written = []

    def write(outcome, blocks):
        if outcome.job == "4":
            raise PermissionError(13, "Permission denied")
        written.append(outcome.job)

    source = lambda name: nullcontext(io.BytesIO(files[name]))  # noqa: E731
    outcomes = list(enhance_many(model, files, source, write))
    assert [x.job for x in outcomes if x.error] == ["4"]
    assert len(written) == len(files) - 1


@pytest.mark.parametrize("error", [CannotGoOn("the disk is full"), TypeError()])
def test_what_concerns_all_files_ends_the_run(model, files, error):
    def write(outcome, blocks):
        raise error

    source = lambda name: nullcontext(io.BytesIO(files[name]))  # noqa: E731
    with pytest.raises(type(error)):
        list(enhance_many(model, files, source, write))


def test_a_full_temporary_folder_ends_the_run(model, files, monkeypatch):
    def full(self, wav):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        "speechbrain_llase.dataio.sample_buffer.SampleSpool.write", full
    )
    with pytest.raises(CannotGoOn, match="TMPDIR"):
        enhance(model, files)


def test_a_stop_is_soon(model, files):
    """Nothing is written after it, and no outcome is given."""
    asked = 0

    def stop():
        nonlocal asked
        asked += 1
        return asked > 12

    outcomes, waves = enhance(model, files, stop=stop)
    assert set(waves) == set(outcomes) and len(outcomes) < len(files)
    assert asked == 13


def test_progress_of_a_long_file(model, files):
    calls = []
    enhance(model, {"9": files["9"]}, progress=lambda *x: calls.append(x))
    assert {name for name, _, _ in calls} == {"9"}
    assert calls[-1] == ("9", 33000, 33000)


def test_watched_files_have_a_report(model, files):
    some = {name: files[name] for name in ("0", "1", "6")}
    some["bad"] = b"words"
    outcomes, waves = enhance(model, some, watched=True)
    _, expected = enhance(
        model, {name: files[name] for name in ("0", "1", "6")}
    )
    assert outcomes["bad"].error and outcomes["bad"].report is None
    for name in expected:
        torch.testing.assert_close(
            waves[name], expected[name], atol=STEP, rtol=0
        )
        assert outcomes[name].report is not None
    assert outcomes["0"].confidence < 0 and outcomes["1"].confidence is None
