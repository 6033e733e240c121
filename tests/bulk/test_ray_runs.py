"""The Ray engine gives what the local engine gives, whatever dies."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from remote_runs import (
    assert_same,
    lines,
    manifest_of,
    read_results,
    write_inputs,
)

pytest.importorskip("ray.data")
pytest.importorskip("pyarrow")
pytest.importorskip("requests")

from ray import cloudpickle  # noqa: E402
from web_hdfs import serve  # noqa: E402

from speechbrain_llase.bulk import ray_engine  # noqa: E402
from speechbrain_llase.bulk.ray_cluster import RayWorker  # noqa: E402
from speechbrain_llase.cli.parser import main  # noqa: E402

FILES = 24
RAY = "--engine", "ray", "--threads", "1"


@pytest.fixture(scope="module")
def hdfs(tmp_path_factory):
    """URL of a system that shares no path with this one."""
    folder = tmp_path_factory.mktemp("server")
    with serve(folder) as url:
        write_inputs(f"{url}/in", FILES)
        yield url


@pytest.fixture(scope="module")
def enhance(tiny_folder, tmp_path_factory):
    """A function that runs the command with the tiny model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("here"))
        patch.setattr(ray_engine, "RayWorker", SlowWorker)
        model = "--source", str(tiny_folder), "--device", "cpu"
        yield lambda *args: main(["enhance", *args, *model])


@pytest.fixture(scope="module")
def alone(hdfs, enhance):
    """Results and lines of the local engine."""
    assert enhance(f"{hdfs}/in", "--output", f"{hdfs}/alone") == 1
    return read_results(f"{hdfs}/alone"), lines(manifest_of(f"{hdfs}/alone"))


class SlowWorker(RayWorker):
    """Leaves time to be killed in; dies of a file whose name is `poison`."""

    def __init__(self, *args):
        super().__init__(*args)
        enhance = self.worker.enhance

        def enhance_or_die(units, folder):
            time.sleep(0.3)
            if any("poison" in unit.name for unit in units):
                os._exit(1)
            return enhance(units, folder)

        self.worker.enhance = enhance_or_die


cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Harm(threading.Thread):
    """Does harm once a run has written its first lines."""

    def __init__(self, manifest: Path, harm, after: int = 4):
        super().__init__(daemon=True)
        self.manifest, self.harm, self.after = manifest, harm, after
        self.seen = None  # lines in the manifest when it happened

    def run(self):
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if self.manifest.exists():
                seen = self.manifest.read_bytes().count(b"\n")
                if seen >= self.after:
                    self.harm()
                    self.seen = seen
                    return
            time.sleep(0.02)


def run_with_harm(enhance, hdfs, name: str, harm) -> None:
    """Run on the cluster while harm is done in the middle."""
    thread = Harm(manifest_of(f"{hdfs}/{name}"), harm)
    thread.start()
    output = f"{hdfs}/{name}"
    code = enhance(
        f"{hdfs}/in", "--output", output, *RAY, "--files-per-task", "2"
    )
    thread.join(1)
    assert code == 1, "the bad file has failed, and nothing else"
    assert thread.seen and thread.seen < FILES - 4, "the harm came in time"


def test_a_worker_is_killed(two_nodes, enhance, hdfs, alone, capsys):
    """The rest goes on; results and lines are those of one machine."""
    run_with_harm(enhance, hdfs, "killed", two_nodes.kill_worker)
    told = capsys.readouterr()
    assert f"{FILES + 2} enhanced" in told.out
    assert_same(read_results(f"{hdfs}/killed"), alone[0])
    assert lines(manifest_of(f"{hdfs}/killed")) == alone[1]


@pytest.mark.slow
def test_resume(two_nodes, enhance, hdfs, alone, capsys):
    """A stop in the middle loses nothing and leaves little to do."""
    stop = lambda: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
    Harm(manifest_of(f"{hdfs}/stopped"), stop).start()
    output = "--output", f"{hdfs}/stopped"
    arguments = f"{hdfs}/in", *output, *RAY, "--files-per-task", "2"
    assert enhance(*arguments) == 130
    before = lines(manifest_of(f"{hdfs}/stopped"))
    assert 4 <= len(before) < len(alone[1])
    capsys.readouterr()
    assert enhance(*arguments) == 1
    done = sum(record.status == "done" for record in before.values())
    assert f"{done} skipped" in capsys.readouterr().out
    assert_same(read_results(f"{hdfs}/stopped"), alone[0])
    assert lines(manifest_of(f"{hdfs}/stopped")) == alone[1]


@pytest.mark.slow
def test_a_file_that_kills_its_worker(
    two_nodes, enhance, hdfs, alone, tmp_path
):
    """It fails alone; what was taken with it does not, nor do containers."""
    source = tmp_path / "in"
    write_inputs(str(source), 4)
    os.rename(source / "day0/a3.wav", source / "day0/poison.wav")
    output = tmp_path / "out"
    assert enhance(f"{source}", "--output", f"{output}", *RAY) == 1
    known = lines(output / "manifest.jsonl")
    assert known.keys() == {f"day{k}/a{k}.wav" for k in range(3)} | {
        "day0/poison.wav",
        "day0/bad.wav",
        "shards/0.tar",
        "shards/0.tar::u0.wav",
        "table.parquet",
    }
    for name, record in known.items():
        if "poison" in name:
            assert record.error == ray_engine.DIED
        elif "bad" not in name and "::" not in name:
            assert record.status == "done"
            assert (output / name).exists()


@pytest.mark.slow
def test_s3(two_nodes, bucket, enhance, alone):
    """Objects in, objects out, where s3fs is installed."""
    if bucket is None:
        pytest.skip("s3fs and moto[server] are not installed")
    write_inputs(f"{bucket}/in", FILES)
    output = "--output", f"{bucket}/s3"
    assert enhance(f"{bucket}/in", *output, *RAY) == 1
    assert_same(read_results(f"{bucket}/s3"), alone[0])
    known = lines(manifest_of(f"{bucket}/s3"))
    assert known.keys() == alone[1].keys()
    for name, record in known.items():
        assert record.input.startswith(f"{bucket}/in/")
        assert record.status == alone[1][name].status


@pytest.mark.slow
def test_rates_and_highs_are_kept(two_nodes, enhance, tmp_path):
    """What workers write has the input's rate, sample for sample."""
    rates = {"a": 44100, "b": 48000, "c": 22050}
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for name, rate in rates.items():
        wav = 0.1 * rng.standard_normal(rate)
        soundfile.write(tmp_path / "in" / f"{name}.wav", wav, rate)
    files = str(tmp_path / "in"), "--keep-rate", "--keep-highs"
    assert enhance(*files, "--output", str(tmp_path / "here")) == 0
    assert enhance(*files, "--output", str(tmp_path / "there"), *RAY) == 0
    for name, rate in rates.items():
        expected, _ = soundfile.read(tmp_path / "here" / f"{name}.wav")
        wav, kept = soundfile.read(tmp_path / "there" / f"{name}.wav")
        assert (len(wav), kept) == (rate, rate)
        assert abs(wav - expected).max() <= 1 / 32768
        highs = abs(np.fft.rfft(wav))[9000:] if rate > 22050 else np.ones(1)
        assert highs.mean() > 0.1


def test_refusals(two_nodes, tiny_folder, enhance, hdfs, tmp_path, capsys):
    """A model that cannot be loaded is said once, before anything begins."""
    arguments = f"{hdfs}/in", "--output", f"{tmp_path}/out", *RAY
    model = "--source", str(tmp_path), "--device", "cpu"
    assert main(["enhance", *arguments, *model]) == 2
    told = capsys.readouterr().err
    assert "hyperparams.yaml" in told.splitlines()[-1]
    assert told.count("error:") == 1


@pytest.mark.slow  # without Ray: tests/bulk/test_unit_trouble.py
def test_a_lost_folder(two_nodes, enhance, tmp_path, capsys):
    """Workers notice it, and do not make another one in its place."""
    write_inputs(f"{tmp_path}/in", FILES)
    output = tmp_path / "out"
    lose = lambda: output.rename(tmp_path / "away")  # noqa: E731
    Harm(output / "manifest.jsonl", lose).start()
    files = f"{tmp_path}/in/day0", f"{tmp_path}/in/day1"
    arguments = *files, "--output", str(output), *RAY, "--files-per-task", "2"
    assert enhance(*arguments) == 3
    assert "is not there any more" in capsys.readouterr().err
    assert not output.exists()
    (tmp_path / "away").rename(output)
    assert enhance(*arguments) == 1
    assert len(lines(output / "manifest.jsonl")) == 2 * FILES // 3 + 1


@pytest.mark.slow
def test_z_a_node_is_lost(two_nodes, enhance, hdfs, alone):
    """Half of the cluster goes, for good; the other half does the rest."""
    run_with_harm(enhance, hdfs, "lost", two_nodes.lose_node)
    assert_same(read_results(f"{hdfs}/lost"), alone[0])
    assert lines(manifest_of(f"{hdfs}/lost")) == alone[1]
