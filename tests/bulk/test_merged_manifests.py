"""All shards read together, and `speechbrain-llase manifest`."""

import os
from pathlib import Path

import pytest

from speechbrain_llase.bulk.merged_manifests import read_run
from speechbrain_llase.bulk.records import Record, read_records
from speechbrain_llase.cli import parser as cli


@pytest.fixture
def shards(tmp_path, monkeypatch):
    """Two of three shards; b.wav was moved from one to the other."""
    monkeypatch.chdir(tmp_path)

    def done(name, confidence):
        return Record(
            f"/in/{name}",
            name,
            "done",
            seconds=1800,
            model="m",
            settings="s",
            confidence=confidence,
            work_s=180,
        )

    write(
        "manifest-1of3.jsonl",
        Record("/in/a", "a.wav", "failed", error="broken"),
        done("b.wav", -2.0),
        done("a.wav", -4.0),
    )
    write(
        "manifest-3of3.jsonl",
        Record("/in/c", "c.wav", "failed", error="no samples"),
        Record("/in/b", "b.wav", "kept"),
        Record("/in/d", "d.wav", "kept"),
    )
    Path("manifest-x.jsonl").write_text("not ours")


def write(path, *records):
    Path(path).write_text("".join(x.as_json() + "\n" for x in records))


def test_the_most_telling_line_is_believed(shards):
    found = {name: x.status for name, x in read_run(["."]).items()}
    assert found == {
        "a.wav": "done",
        "b.wav": "done",
        "c.wav": "failed",
        "d.wav": "kept",
    }
    assert read_run(["manifest-3of3.jsonl"])["b.wav"].status == "kept"


def test_the_command_says_what_became_of_a_run(shards, capsys):
    assert cli.main(["manifest", ".", "--join", "all.jsonl"]) == 1
    out, err = capsys.readouterr()
    assert "2 done, 1 kept (there before), 1 failed; 1.00 h of audio" in out
    assert "0.10 h of work, real-time factor 0.100" in out
    assert "half below -4.00" in out and "2 by m, settings s" in out
    assert "shards that have not begun: 2/3" in err
    assert "failed: /in/c: no samples" in err and "broken" not in err
    joined = [record.output for record in read_records("all.jsonl")]
    assert joined == ["a.wav", "b.wav", "c.wav", "d.wav"]


def test_a_whole_run_is_0(tmp_path, capsys):
    path = tmp_path / "manifest.jsonl"
    write(path, Record("/in/a", "a.wav", "done", seconds=3.6))
    assert cli.main(["manifest", str(tmp_path)]) == 0
    assert cli.main(["manifest", str(path)]) == 0
    assert "1 done, 0 kept" in capsys.readouterr().out


@pytest.mark.parametrize("name", [".", "lost", "lost.jsonl"])
def test_no_manifest(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["manifest", name]) == 2
    assert "error: " in capsys.readouterr().err
    assert os.listdir() == []
