"""Lists of inputs: what is read, what names the outputs, what is refused."""

import json
import os
from pathlib import Path

import pytest

from speechbrain_llase.bulk.plan import plan_run
from speechbrain_llase.dataio.input_lists import read_list


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with some files."""
    monkeypatch.chdir(tmp_path)
    for name in ("x/1/a.wav", "x/2/a.flac", "x/2/b.wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def write(name, text):
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def targets(*inputs, **kwargs):
    """Outputs by input."""
    units = plan_run(inputs, "out", **kwargs).units
    assert all(unit.target == f"out/{unit.name}" for unit in units)
    return {unit.source: unit.name for unit in units}


TREE = {"x/1/a.wav": "1/a.wav", "x/2/a.flac": "2/a.wav"}


@pytest.mark.parametrize("column", ["wav", "path", "input", "audio_filepath"])
@pytest.mark.parametrize("suffix, mark", [(".csv", ","), (".tsv", "\t")])
def test_csv(column, suffix, mark):
    """The form of SpeechBrain; the tree below the common folder is kept."""
    rows = [
        ["ID", "duration", column, "wav_format"],
        ["u1", "1.5", "x/1/a.wav", "wav"],
        ["u2", "2.5", "x/2/a.flac", "flac"],
    ]
    write("l" + suffix, "".join(mark.join(row) + "\r\n" for row in rows))
    assert targets("l" + suffix) == TREE


def test_csv_with_quotes_and_a_chosen_column():
    text = 'ID,clean_wav,noisy_wav,mine\n1,x/1/a.wav,x/2/b.wav,"x/2/a.flac"\n'
    write("l.csv", text)
    assert targets("l.csv") == {"x/2/b.wav": "b.wav"}
    assert targets("l.csv", column="mine") == {"x/2/a.flac": "a.wav"}


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".ndjson"])
@pytest.mark.parametrize("key", ["audio_filepath", "input"])
def test_json_lines(suffix, key):
    """The form of NeMo, and of a run's own manifest."""
    rows = [{key: path, "duration": 1.0, "text": "{a}"} for path in TREE]
    write("l" + suffix, "\n".join(map(json.dumps, rows)) + "\n\n")
    assert targets("l" + suffix) == TREE
    write("l" + suffix, json.dumps(rows[0]))
    assert targets("l" + suffix) == {"x/1/a.wav": "a.wav"}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("count", [1, 2])
def test_json_of_speechbrain(indent, count):
    """An object whose keys are ids."""
    paths = list(TREE)[:count]
    whole = {str(k): {"wav": path} for k, path in enumerate(paths)}
    write("l.json", json.dumps(whole, indent=indent))
    assert list(targets("l.json")) == paths


def test_wav_scp_names_its_outputs():
    write("wav.scp", "utt-1 x/1/a.wav\nspk/utt.2\tx/2/a.flac\n\n# no\n")
    assert targets("wav.scp") == {
        "x/1/a.wav": "utt-1.wav",
        "x/2/a.flac": "spk/utt.2.wav",
    }


def test_a_path_with_spaces_in_wav_scp():
    Path("x/a b.wav").touch()
    write("wav.scp", "u   x/a b.wav \n")
    assert targets("wav.scp") == {"x/a b.wav": "u.wav"}


def test_absolute_paths_and_a_byte_order_mark():
    path = os.path.abspath("x/1/a.wav")
    Path("l.csv").write_bytes(b"\xef\xbb\xbf" + f"wav\n{path}\n".encode())
    assert targets("l.csv") == {path: "a.wav"}


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("l.csv", "ID,text\n1,x/1/a.wav\n", "no column of a known name.*text"),
        ("l.csv", "wav,path\nx/1/a.wav,b\n", r"several columns.*\(wav, path"),
        ("l.csv", "wav,ID\n,1\n", "line 2: wav='' is no path"),
        ("l.csv", "ID,wav\n1\n", "line 2: wav=None is no path"),
        ("l.csv", "wav\n", "names no file"),
        ("l.csv", 'wav\n"x\n', "l.csv is no CSV"),
        ("l.csv", "wav\n$data_root/a.wav\n", "placeholder in '.data_root"),
        ("l.json", '{"1": {"wav": "{data_root}/a.wav"}}', "placeholder"),
        ("l.csv", "wav\nother.txt\n", "names another list, other.txt"),
        ("l.jsonl", '{"wav": 3}\n', "line 1: wav=3 is no path"),
        ("l.jsonl", '{"wav": "x/1/a.wav"}\n{"wav"', "no JSON"),
        ("l.jsonl", "[1]\n[2]\n", "entry 1, is no object"),
        ("l.json", "[1]\n", "one JSON object per line"),
        ("l.json", "", "names no file"),
        ("l.json", '{"a": {"wav": "x/1/a.wav"}, "b": 1}', "no column of"),
        ("wav.scp", "u1\n", "line 1: 'u1' is not an id and a path"),
        ("wav.scp", "u1 sph2pipe -f wav a.sph |\n", "commands are never run"),
        ("wav.scp", "u1 |cat\n", "commands are never run"),
        ("wav.scp", "../u1 x/1/a.wav\n", "'../u1' cannot name an output"),
        ("wav.scp", "/etc/u1 x/1/a.wav\n", "'/etc/u1' cannot name an output"),
        ("wav.scp", "u x/1/a.wav\nu x/2/b.wav\n", "x/1/a.wav, x/2/b.wav"),
        (
            "wav.scp",
            "v x/1/a.wav\nu x/1/lost.wav\n",
            "No such file.*\n.*x/1/lost.wav",
        ),
        ("wav.scp", "u x/1/lost.wav\n", "wav.scp is taken for a list"),
    ],
)
def test_what_is_refused(name, text, message):
    write(name, text)
    with pytest.raises(ValueError, match=message):
        targets(name)


def test_a_binary_list_is_refused():
    Path("l.csv").write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(ValueError, match="l.csv is not UTF-8 text"):
        read_list(Path("l.csv"))


def test_a_chosen_column_that_is_not_there():
    write("l.csv", "wav,ID\nx/1/a.wav,1\n")
    with pytest.raises(ValueError, match="noisy=None.*columns are wav, ID"):
        targets("l.csv", column="noisy")


def test_what_is_no_audio_is_counted():
    """And all sound and all films are taken."""
    for name in ("x/b.m4a", "x/1/c.M4A", "x/film.mp4", "x/n.md", "x/README"):
        Path(name).touch()
    plan = plan_run(["x"], "out")
    assert {"b.wav", "1/c.wav", "film.wav"} <= {u.name for u in plan.units}
    assert plan.remark == "2 files are not audio (.md: 1, no ending: 1)"
    assert plan_run(["x/1/a.wav"], "out").remark == ""


def test_a_folder_without_audio_says_what_is_there():
    Path("y").mkdir()
    Path("y/a.pdf").touch()
    with pytest.raises(ValueError, match=r"holds no audio.*1 files.*\.pdf: 1"):
        plan_run(["y"], "out")
