"""Runs over URLs, shards and tables, in one process."""

import pytest
from remote_runs import (
    assert_same,
    encode,
    leftovers,
    lines,
    manifest_of,
    read_results,
    write_inputs,
)

from speechbrain_llase.bulk import storage

pytest.importorskip("pyarrow")


@pytest.mark.parametrize("where", ["file", "hdfs"])
def test_run(enhance, where, tmp_path, request, capsys):
    """All kinds at once: results, lines, what failed, and going on."""
    pytest.importorskip("requests")
    top = f"file://{tmp_path}"
    if where == "hdfs":
        top = request.getfixturevalue("hdfs")
    write_inputs(f"{top}/in", 7)
    assert enhance(f"{top}/in", "--output", f"{top}/out") == 1
    told = capsys.readouterr()
    assert "9 enhanced, 0 skipped" in told.out
    assert "bad.wav: cannot be read as audio" in told.err
    manifest = tmp_path / "out/manifest.jsonl"
    if where == "hdfs":
        manifest = manifest_of(f"{top}/out")
        with storage.open_stream(f"{top}/out/manifest.jsonl") as file:
            assert file.read() == manifest.read_bytes()
    known = lines(manifest)
    assert len(known) == 7 + 1 + 2 + 1
    for name, record in known.items():
        assert (record.status == "failed") == ("bad" in name or "::" in name)
        assert record.input.startswith(f"{top}/in/".replace("file://", ""))
        assert record.confidence or record.error
    assert known["shards/0.tar"].warnings == ("1 of 4 recordings failed",)
    assert known["shards/0.tar::u0.wav"].error
    results = read_results(f"{top}/out")
    assert len(results) == 7 + 7 + 3
    assert results["shards/0.tar/u0.txt"] == b"text 0"

    # the plain local run gives the same
    local = tmp_path / "local"
    for k in range(7):
        file = local / f"in/day{k % 3}/a{k}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(3200 + 800 * (k % 5), k))
    assert enhance(f"{local}/in", "--output", f"{local}/out") == 0
    same = read_results(f"{local}/out")
    assert_same(same, {name: results[name] for name in same})

    # going on: only what failed, and what is gone, is made
    storage.remove(f"{top}/out/day1/a1.wav")
    storage.remove(f"{top}/out/shards/0.tar")
    capsys.readouterr()
    assert enhance(f"{top}/in", "--output", f"{top}/out") == 1
    assert "2 enhanced, 7 skipped" in capsys.readouterr().out
    assert lines(manifest) == known
    assert_same(read_results(f"{top}/out"), results)
    assert leftovers(f"{top}/out") == []


def test_another_machine_goes_on(enhance, hdfs, tmp_path, capsys):
    """The copy of the manifest beside the results is taken over."""
    write_inputs(f"{hdfs}/in", 2)
    arguments = f"{hdfs}/in/day*/*.wav", "--output", f"{hdfs}/out"
    assert enhance(*arguments) == 1
    manifest = manifest_of(f"{hdfs}/out")
    known = lines(manifest)
    for path in tmp_path.glob("out-*"):
        path.unlink()
    capsys.readouterr()
    assert enhance(*arguments) == 1
    assert "0 enhanced, 2 skipped" in capsys.readouterr().out
    assert lines(manifest) == known
    assert enhance(*arguments, "--precision", "bf16") == 2
    assert "manifest of another run" in capsys.readouterr().err


def test_results_without_lines(enhance, tmp_path):
    """Those of a killed run are made again; those of before it are kept."""
    top = f"file://{tmp_path}"
    for k in range(3):
        storage.write_bytes(f"{top}/in/{k}.wav", encode(4000, k))
    storage.write_bytes(f"{top}/out/0.wav", b"somebody's")
    arguments = f"{top}/in", "--output", f"{top}/out"
    assert enhance(*arguments) == 0
    manifest = tmp_path / "out/manifest.jsonl"
    known = lines(manifest)
    assert known["0.wav"].status == "kept"
    # as a kill leaves it: two lines, and the mark of a run at work
    text = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(text[:2]) + text[2][:20])
    about = tmp_path / "out/manifest.run.json"
    text = about.read_text()
    assert '"finished": true' in text
    about.write_text(text.replace('"finished": true', '"finished": false'))
    assert enhance(*arguments) == 0
    assert lines(manifest) == known
    assert (tmp_path / "out/0.wav").read_bytes() == b"somebody's"


def test_refusals_in_one_line(enhance, hdfs, tmp_path, capsys):
    """Nothing begins, and what to do is said."""
    storage.write_bytes(f"{hdfs}/a.wav", encode(4000, 0))
    storage.write_bytes("x.tar", b"x")
    for arguments, told in (
        (("nosuch://a/b.wav", "--output", "out"), "not known to fsspec"),
        ((f"{hdfs}/b.wav", "--output", "out"), "there is no such file"),
        ((f"{hdfs}/a.wav", "--output", f"{hdfs}/locked/out"), "no access"),
        (("x.tar", "--output", "o", "--details", "d"), "--details"),
    ):
        assert enhance(*arguments) == 2
        *_, line = capsys.readouterr().err.strip().splitlines()
        assert "error:" in line and told in line
    assert enhance("x.tar", "--output", "o", "--manifest", "x.tar") == 2
    assert "manifest would take the place" in capsys.readouterr().err
    assert not storage.exists(f"{hdfs}/out/a.wav")


def test_shard_option(enhance, hdfs, tmp_path):
    """Two halves, with a manifest each, give the whole."""
    write_inputs(f"{hdfs}/in", 3)
    arguments = f"{hdfs}/in/day*/a*.wav", "--output", f"{hdfs}/out"
    for part in ("1/2", "2/2"):
        assert enhance(*arguments, "--shard", part) == 0
    assert len(read_results(f"{hdfs}/out")) == 3
    for part, count in (("1of2", 2), ("2of2", 1)):
        name = f"manifest-{part}.jsonl"
        assert len(lines(manifest_of(f"{hdfs}/out", name))) == count
        assert storage.exists(f"{hdfs}/out/{name}")


def test_the_newer_manifest_is_believed(enhance, hdfs, monkeypatch, tmp_path):
    """That of the machine that went on last, be it smaller or not."""
    write_inputs(f"{hdfs}/in", 3)
    output = "--output", f"{hdfs}/out"
    assert enhance(f"{hdfs}/in/day[1]/*.wav", *output) == 0
    manifest = manifest_of(f"{hdfs}/out").resolve()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert enhance(f"{hdfs}/in/day[12]/*.wav", *output) == 0
    manifest.write_bytes(20 * manifest.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert enhance(f"{hdfs}/in/day[1]/*.wav", *output) == 0
    assert lines(manifest).keys() == {"day1/a1.wav", "day2/a2.wav"}


def test_two_outputs_of_one_name(enhance, hdfs, capsys):
    """Each has its manifest, and that of another output is refused."""
    storage.write_bytes(f"{hdfs}/a.wav", encode(4000, 0))
    storage.write_bytes(f"{hdfs}/b.wav", encode(4000, 1))
    first, second = (f"{hdfs}/day{k}/clean" for k in (1, 2))
    assert enhance(f"{hdfs}/a.wav", "--output", first) == 0
    for _ in range(2):
        assert enhance(f"{hdfs}/b.wav", "--output", second) == 0
    assert lines(manifest_of(first)).keys() == {"a.wav"}
    assert lines(manifest_of(second)).keys() == {"b.wav"}
    other = "--manifest", str(manifest_of(first))
    assert enhance(f"{hdfs}/b.wav", "--output", second, *other) == 2
    told = capsys.readouterr().err
    assert f"the manifest of another output, {first}" in told
    assert lines(manifest_of(first)).keys() == {"a.wav"}
