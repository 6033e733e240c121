"""Runs of tasks with a second input, or with two outputs."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from speechbrain_llase import LLaSEG1
from speechbrain_llase.bulk.pairing import plan_task
from speechbrain_llase.bulk.ray_engine import for_workers
from speechbrain_llase.bulk.records import read_records
from speechbrain_llase.bulk.units import Unit
from speechbrain_llase.cli import main

NAMES = ["a.b.wav", "1/c.wav", "2/c.wav"]


def write(path, wav):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.asarray(wav), 16000)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """mic/ and far/ with files of the same names, some of other endings."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for k, name in enumerate(NAMES):
        write(f"mic/{name}", rng.uniform(-0.3, 0.3, 9000 + 1000 * k))
        other = name if k else "a.b.flac"
        write(f"far/{other}", rng.uniform(-0.3, 0.3, 8000 + 2000 * k))
    return tmp_path


def beside(*inputs, **settings):
    """What stands beside each input of a plan."""
    plan = plan_task(inputs, "out", **settings)
    return {unit.source: unit.beside for unit in plan.units}


# -- plans ----------------------------------------------------------------------


def test_partners_have_the_name_of_their_input(files):
    """In a folder, in a list, in a column; or one for all."""
    pairs = {f"mic/{x}": f"far/{x}" for x in NAMES}
    pairs["mic/a.b.wav"] = "far/a.b.flac"
    assert beside("mic", reference="far") == pairs
    assert beside("mic", reference="far/") == pairs
    rest = {"mic/a.b.wav": "far/a.b.flac"}
    assert beside("mic/a.b.wav", reference="far") == rest
    assert set(beside("mic", reference="far/1/c.wav").values()) == {
        "far/1/c.wav"
    }
    rows = [{"noisy": a, "told": b} for a, b in pairs.items()]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert beside("rows.jsonl", reference="told") == pairs
    assert beside("mic", reference="rows.jsonl", column="told") == pairs


def test_a_partner_is_missing_or_doubled(files):
    """All such inputs are listed."""
    write("far/1/c.flac", np.zeros(9000))
    with pytest.raises(ValueError, match="several partners") as caught:
        beside("mic", reference="far")
    assert "mic/1/c.wav: far/1/c.flac, far/1/c.wav" in str(caught.value)
    Path("far/1/c.flac").unlink()
    Path("far/1/c.wav").unlink()
    Path("far/2/c.wav").unlink()
    with pytest.raises(ValueError, match="have no partner") as caught:
        beside("mic", reference="far")
    listed = str(caught.value).splitlines()[1:]
    assert [line.strip() for line in listed] == ["mic/1/c.wav", "mic/2/c.wav"]
    for reference in ("nowhere", "far/2/none.wav"):
        with pytest.raises(ValueError, match="No such file or folder"):
            beside("mic", reference=reference)


def test_no_partner_is_overwritten(files):
    """Nor an input by the second of two results."""
    with pytest.raises(ValueError, match="overwrite an input") as caught:
        plan_task(["mic"], "far", reference="far")
    assert "over far/1/c.wav" in str(caught.value)
    write("x/d.wav", np.zeros(900))
    write("out/d_2.wav", np.zeros(900))
    with pytest.raises(ValueError, match=r"over out/d_2\.wav"):
        plan_task(["x", "out/d_2.wav"], "out", separates=True)
    Path("x/0.tar").touch()
    with pytest.raises(ValueError, match="not shards or tables"):
        plan_task(["x"], "new", separates=True)
    (unit,) = plan_task(["x/d.wav"], "new", separates=True).units
    assert [part.name for part in unit.results] == ["d_1.wav", "d_2.wav"]


def test_units_travel(files):
    """A worker elsewhere gets a partner's whole path, and both names."""
    plan = plan_task(["mic/1"], "out", reference="far/1")
    (unit,) = plan.units
    sent = json.loads(json.dumps(for_workers(unit, "/top")))
    assert Unit(**sent).beside == str(files / "far/1/c.wav")
    (unit,) = plan_task(["mic/1"], "out", separates=True).units
    sent = json.loads(json.dumps(for_workers(unit, "/top")))
    assert [x.target for x in Unit(**sent).results] == [
        str(Path("/top", f"c_{n}.wav")) for n in (1, 2)
    ]


# -- runs -----------------------------------------------------------------------


@pytest.fixture
def enhance_g1(g1_folder, files):
    """A function that runs the command with the stand-in."""

    def run(*args):
        source = ["--source", str(g1_folder), "--device", "cpu"]
        return main(["enhance", *args, "--output", "out", *source])

    return run


def lines():
    """The manifest's lines by output."""
    return {x.output: x for x in read_records("out/manifest.jsonl")}


def test_echo_in_a_folder(enhance_g1, g1_folder, capsys):
    """Each with its own partner, as alone; resumed; other partners refused."""
    task = ["mic", "--task", "aec", "--reference", "far"]
    assert enhance_g1(*task, "--batch-size", "2") == 0
    model = LLaSEG1.from_hparams(g1_folder, run_opts={"device": "cpu"})
    alone = model.cancel_echo_file("mic/1/c.wav", "far/1/c.wav")
    written, _ = sf.read("out/1/c.wav", dtype="float32")
    assert (torch.from_numpy(written) - alone).abs().max() < 2e-4
    line = lines()["1/c.wav"]
    assert line.input == " + ".join(
        str(Path(x, "1/c.wav").resolve()) for x in ("mic", "far")
    )
    Path("out/1/c.wav").unlink()
    capsys.readouterr()
    assert enhance_g1(*task) == 0
    assert "1 enhanced, 2 skipped" in capsys.readouterr().out
    again, _ = sf.read("out/1/c.wav", dtype="float32")
    assert np.array_equal(again, written)
    task[-1] = "far/1/c.wav"
    assert enhance_g1(*task) == 2
    assert "made of other inputs" in capsys.readouterr().err
    assert enhance_g1("mic", "--task", "plc") == 2
    assert "task: 'aec' there, 'plc' now" in capsys.readouterr().err


def test_two_speakers_of_a_folder(enhance_g1, capsys):
    """Two results or none; a lost one is made again."""
    assert enhance_g1("mic", "--task", "ss") == 0
    found = sorted(
        str(path.relative_to("out")) for path in Path("out").rglob("*.wav")
    )
    stems = [name.removesuffix(".wav") for name in NAMES]
    assert found == sorted(f"{x}_{n}.wav" for x in stems for n in (1, 2))
    for name in NAMES:
        count = sf.info(f"mic/{name}").frames
        assert sf.info(f"out/{name[:-4]}_2.wav").frames == count
    Path("out/1/c_2.wav").unlink()
    capsys.readouterr()
    assert enhance_g1("mic", "--task", "ss") == 0
    assert "1 enhanced, 2 skipped" in capsys.readouterr().out
    assert Path("out/1/c_2.wav").exists()


def test_lost_packets_are_reported(enhance_g1, capsys):
    """How many, how long; in the manifest too."""
    wav, _ = sf.read("mic/1/c.wav")
    wav[1000:1500] = wav[4000:5000] = 0
    write("mic/1/c.wav", wav)
    assert enhance_g1("mic", "--task", "plc", "--passes", "2") == 0
    said = capsys.readouterr().err
    assert "packet loss: mic/1/c.wav: 2 gaps, 0.09 of 0.62 s" in said
    assert said.count("packet loss") == 1
    line = lines()["1/c.wav"]
    assert (line.gaps, line.lost_s) == (2, 0.0938)


def test_wrong_options(enhance_g1, capsys):
    """Refused before anything is begun."""
    for options, said in (
        (["--task", "tse"], "hears the voice to extract beside each"),
        (["--task", "plc", "--reference", "far"], "not for plc"),
        (["--task", "ss", "--details", "x"], "and --task ss"),
        (["--task", "ss", "--guard"], "Switch them off"),
        (["--task", "ss", "--channels", "each"], "two files of one channel"),
    ):
        assert enhance_g1("mic", *options) == 2
        assert said in capsys.readouterr().err
    own = ["--output", "new", "--device", "cpu", "--task", "plc"]
    assert main(["enhance", "mic", *own]) == 2
    assert "no other task" in capsys.readouterr().err
