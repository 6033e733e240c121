"""Runs that are killed (SIGKILL) anywhere lose nothing and redo nothing."""

import os
import random
import shutil
import signal
import time

import killing
import numpy as np
import pytest
import soundfile as sf

from speechbrain_llase.bulk.records import read_records

COUNT = 40
STEP = 1 / 32768


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Forty files of 0.1 to 2 s in three folders."""
    folder = tmp_path_factory.mktemp("noisy")
    rng = np.random.default_rng(7)
    for k in range(COUNT):
        path = folder / "in" / str(k % 3) / f"{k:02}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        length = int(16000 * rng.uniform(0.1, 2))
        sf.write(path, rng.uniform(-0.5, 0.5, length), 16000)
    return folder


def command(folder, batch):
    return (
        f"enhance in --output out --source {folder} --device cpu"
        f" --batch-size {batch}"
    ).split()


@pytest.fixture(scope="module")
def undisturbed(noisy, tiny_folder):
    """Records and waves of runs that nobody killed, by size of batches."""
    known = {}

    def run(batch):
        if batch not in known:
            assert killing.finish(noisy, command(tiny_folder, batch)) == 0
            known[batch] = outcome(noisy)
            shutil.rmtree(noisy / "out")
        return known[batch]

    return run


def outcome(folder):
    """Read records and waves of a run; one line a file, no other file."""
    found = list(read_records(folder / "out" / "manifest.jsonl"))
    records = {record.output: record for record in found}
    assert len(found) == len(records) == COUNT
    assert {record.status for record in found} == {"done"}
    top = folder / "out"
    files = {p.relative_to(top).as_posix() for p in top.rglob("*.*")}
    assert files == {*records, "manifest.jsonl", "manifest.run.json"}
    waves = {name: sf.read(top / name)[0] for name in records}
    return records, waves


def kill_often(folder, model, batch, kills, seed):
    """Kill runs at random points, then let one finish; count the hits."""
    rng = random.Random(seed)
    manifest = folder / "out" / "manifest.jsonl"
    hits = 0
    for k in range(kills):
        done = killing.count_lines(manifest)
        lines = rng.randint(done, done + (COUNT - done) // (kills - k + 1))
        delay_s = rng.uniform(0, 0.05)
        argv = command(model, batch)
        hits += killing.kill_at(folder, argv, manifest, lines, delay_s)
        assert killing.count_lines(manifest) < COUNT or not hits
        done = {x.output for x in read_records(manifest)}
        assert all((folder / "out" / name).is_file() for name in done)
    assert killing.finish(folder, command(model, batch)) == 0
    return hits


def check(folder, expected, exact):
    """Compare a run with an undisturbed one."""
    records, waves = outcome(folder)
    for name, record in expected[0].items():
        assert records[name].seconds == record.seconds
        assert records[name].confidence == pytest.approx(
            record.confidence, abs=1e-3
        )
        assert records[name].settings == record.settings
        assert records[name].input.endswith(f"in/{name}")
        difference = np.abs(waves[name] - expected[1][name]).max()
        assert difference <= (0 if exact else STEP)


def link_inputs(noisy, folder):
    folder.mkdir(exist_ok=True)
    (folder / "in").symlink_to(noisy / "in")
    return folder


def test_three_kills(noisy, tiny_folder, undisturbed, tmp_path):
    """Windows run alone here: the outputs are equal bit for bit."""
    folder = link_inputs(noisy, tmp_path / "run")
    assert kill_often(folder, tiny_folder, 1, kills=3, seed=0) == 3
    check(folder, undisturbed(1), exact=True)


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c(noisy, tiny_folder, undisturbed, tmp_path, times):
    """Once: after the window at work. Twice: at once. Nothing is torn."""
    folder = link_inputs(noisy, tmp_path / "run")
    manifest = folder / "out" / "manifest.jsonl"
    process = killing.start(folder, command(tiny_folder, 1))
    killing.wait_for(process, manifest, 7)
    for _ in range(times):
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.001)
    process.join(60)
    assert process.exitcode == 130
    text = (folder / "log.txt").read_text()
    assert "once more stops at once" in text and "Traceback" not in text
    assert "the finished files are complete" in text
    records = {x.output for x in read_records(manifest)}
    files = {p.name for p in (folder / "out").rglob("*") if p.is_file()}
    expected = {name.rpartition("/")[2] for name in records}
    files -= {"manifest.jsonl", "manifest.run.json"}
    # at once may be between the moving of a file and its line
    assert expected <= files and len(files - expected) < times
    assert 7 <= len(records) < COUNT
    # the second one may come before the last file is counted
    counts = [len(records), len(records) - times + 1]
    assert any(f"{count} enhanced" in text for count in counts)
    assert killing.finish(folder, command(tiny_folder, 1)) == 0
    check(folder, undisturbed(1), exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("seed", range(1, 6))
def test_fifty_kills(noisy, tiny_folder, undisturbed, tmp_path, batch, seed):
    """Five in a row; in batches the outputs are within a 16-bit step."""
    folder = link_inputs(noisy, tmp_path / "run")
    hits = kill_often(folder, tiny_folder, batch, kills=5, seed=seed)
    assert hits >= 4
    check(folder, undisturbed(batch), exact=batch == 1)
