"""Plans over URLs, shards and tables: names, and what is refused."""

import os
from pathlib import Path

import pytest

from speechbrain_llase.bulk import storage
from speechbrain_llase.bulk.plan import plan_run


def names(inputs, output="memory://out"):
    return [unit.name for unit in plan_run(inputs, output).units]


def test_plan():
    """Trees are kept, endings are those of the results."""
    top = "memory://plan"
    for key in ("b/a.b.flac", "a.txt", "t.arrow", "s/0.tgz", "b/.x.wav"):
        storage.write_bytes(f"{top}/in/{key}", b"x")
    assert names([f"{top}/in"]) == ["b/a.b.wav", "s/0.tgz", "t.parquet"]
    assert names([f"{top}/in/b/a.b.flac"]) == ["a.b.wav"]
    assert names([f"{top}/in/*/*.flac"]) == ["b/a.b.wav"]
    (unit,) = plan_run([f"{top}/in/s"], "memory://out/").units
    assert unit.target == "memory://out/0.tgz" and unit.size == 1
    storage.write_bytes(f"{top}/in/clean/b/a.b.wav", b"x")
    assert len(names([f"{top}/in"], f"{top}/in/clean")) == 3
    storage.write_bytes(
        f"{top}/list.txt", f"# two\n{top}/in/s\n\n{top}/in/t.arrow".encode()
    )
    assert names([f"{top}/list.txt"]) == ["0.tgz", "t.parquet"]
    storage.write_bytes(f"{top}/list.scp", f"utt1 {top}/in/b/a.b.flac".encode())
    assert names([f"{top}/list.scp"]) == ["utt1.wav"]


def test_refused_plans(tmp_path):
    top = "memory://refused"
    for key in ("a/x.wav", "b/x.flac", "none/x.doc"):
        storage.write_bytes(f"{top}/{key}", b"x")
    with pytest.raises(ValueError, match="written to one output"):
        names([f"{top}/a/x.wav", f"{top}/b/x.flac"])
    with pytest.raises(ValueError, match="overwrite an input"):
        names([f"{top}/a/x.wav"], f"{top}/a")
    with pytest.raises(ValueError, match="refused/none holds no audio"):
        names([f"{top}/none"])
    with pytest.raises(FileNotFoundError, match="no such file"):
        names([f"{top}/missing/*.wav"][:0] + [f"{top}/missing"])
    with pytest.raises(ValueError, match="holds no audio"):
        names([f"{top}/a/*.tar"])


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that makes small files below the current folder."""
    monkeypatch.chdir(tmp_path)

    def make_files(*paths):
        for path in map(Path, paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")

    return make_files


def test_links_do_not_hide_an_input(make):
    """A result over an input is refused, whatever the paths look like."""
    make("data/0.tar", "data/t.arrow", "data/t.parquet")
    os.symlink("data", "link")
    for given in ("data/0.tar", "link/0.tar", "data/t.parquet"):
        for output in ("data", "link", f"file://{os.getcwd()}/link"):
            with pytest.raises(ValueError, match="overwrite an input"):
                names([given], output)
    assert names(["data/0.tar", "link/0.tar"], "out") == ["0.tar"]
    with pytest.raises(ValueError, match="written to one output"):
        names(["data/t.arrow", "data/t.parquet"], "out")


def test_links_do_not_lead_out_of_the_output(make):
    make("in/day1/0.tar", "elsewhere/x")
    os.mkdir("out")
    os.symlink("../elsewhere", "out/day1")
    with pytest.raises(ValueError, match="leads out of the output.*\\n.*day1"):
        names(["in"], "out")
    os.unlink("out/day1")
    make("out/day1/0.tar/x")
    with pytest.raises(ValueError, match="has the name of a folder"):
        names(["in"], "out")


def test_a_local_folder_is_searched_as_a_url(make, tmp_path):
    """Shards, tables and films are found; what is no audio is counted."""
    make(
        "in/s/0.tar",
        "in/b.parquet",
        "in/a.flac",
        "in/.h/1.tar",
        "in/f.mp4",
        "in/t.TXT",
    )
    make("in/out/9.tar")
    os.symlink("in", "also")
    for top in ("in", "also", f"file://{tmp_path}/in"):
        plan = plan_run([top], "in/out")
        assert [unit.name for unit in plan.units] == [
            "a.wav",
            "b.parquet",
            "f.wav",
            "s/0.tar",
        ]
        kinds = [unit.kind for unit in plan.units]
        assert kinds == ["file", "table", "file", "shard"]
        assert plan.left_out == [".txt"]
    assert names(["in/out"], "in") == ["9.tar"]
    os.unlink("in/b.parquet")
    os.unlink("in/s/0.tar")
    os.unlink("in/f.mp4")
    assert names(["in"], "in/out") == ["a.wav"]


def test_a_list_names_shards(make):
    """Equal names in several folders do not clash; an id is one."""
    make("in/a/0.tar.gz", "in/b/0.tar.gz", "in/b/t.arrow")
    paths = ["in/a/0.tar.gz", "in/b/0.tar.gz", "in/b/t.arrow"]
    Path("l.csv").write_text("\n".join(["wav", *paths]))
    assert names(["l.csv"]) == ["a/0.tar.gz", "b/0.tar.gz", "b/t.parquet"]
    Path("l.scp").write_text(
        "\n".join(f"u{k} {p}" for k, p in enumerate(paths))
    )
    assert names(["l.scp"]) == ["u0.tar.gz", "u1.tar.gz", "u2.parquet"]


def test_one_plan_for_all_places(make, tmp_path):
    """Files here, a pattern, a URL and a shard; sources stay as given."""
    make("in/a.wav", "in/b.flac", "in/c.wav", "s/0.tar")
    storage.write_bytes("memory://all/u.wav", b"x")
    Path("l.txt").write_text("in/a.wav\nmemory://all/u.wav\n")
    plan = plan_run(["l.txt", "in/[bc].*", "s", "./in//c.wav"], "out/")
    found = {unit.source: unit.target for unit in plan.units}
    assert list(found.items())[:2] == [
        ("in/a.wav", "out/a.wav"),
        ("memory://all/u.wav", "out/u.wav"),
    ]
    assert found["in/b.flac"] == "out/b.wav"
    assert found["in/c.wav"] == "out/c.wav" and len(found) == 5
    assert found["s/0.tar"] == "out/0.tar"
    assert next(iter(plan.units)).input == f"{tmp_path}/in/a.wav"
