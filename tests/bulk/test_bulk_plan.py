"""Finding inputs and naming outputs."""

import os
from pathlib import Path

import pytest

from speechbrain_llase.bulk.plan import name_result, plan_run
from speechbrain_llase.bulk.units import Unit, UnitList
from speechbrain_llase.dataio.audio_files import AUDIO_SUFFIXES


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return a function that makes empty files below the current folder."""
    monkeypatch.chdir(tmp_path)

    def make_files(*names):
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()

    return make_files


def targets(*inputs, output="out"):
    """Plan, and write the outputs relative to the output folder."""
    units = plan_run(inputs, output).units
    assert all(Path(unit.target) == Path(output, unit.name) for unit in units)
    return [unit.name for unit in units]


def test_any_name_keeps_its_order_and_its_bytes(make):
    """A plan lies on the disk; names there need not be UTF-8."""
    names = [f"{x}.wav" for x in ("b", "a", "\udce9", "\u00e9", "\uffff", "B")]
    make(*(f"x/{name}" for name in names))
    assert targets("x") == sorted(names)
    units = plan_run([f"x/{name}" for name in names], "out").units
    assert [unit.source for unit in units] == [f"x/{n}" for n in names]
    assert [unit.name for unit in units.by_name()] == sorted(names)
    assert len(units) == 6


def test_a_plan_without_room_says_so():
    units = UnitList("out")
    units.db.execute("PRAGMA max_page_count = 4")
    many = (Unit(f"{k}", "out", f"{k}.wav") for k in range(1000))
    with pytest.raises(OSError, match="is full.*set TMPDIR"):
        units.extend((None, unit) for unit in many)


def test_a_file_lands_in_the_output_folder(make):
    make("deep/in/a.wav")
    assert targets("deep/in/a.wav") == ["a.wav"]


def test_the_tree_below_each_folder_is_kept(make):
    make("x/1/a.wav", "x/b.wav", "y/2/a.wav")
    assert targets("x", "y/") == ["b.wav", "1/a.wav", "2/a.wav"]


def test_names_are_kept_whole(make):
    make("a.b.wav", "a.c.wav", "a.flac", "take.2", "noext", "..wav")
    names = ["a.b.wav", "a.c.wav", "a.flac", "take.2", "noext", "..wav"]
    assert targets(*names) == [
        "a.b.wav",
        "a.c.wav",
        "a.wav",
        "take.2.wav",
        "noext.wav",
        "..wav",
    ]


@pytest.mark.parametrize("suffix", sorted(AUDIO_SUFFIXES))
def test_known_endings_are_found_in_any_case(make, suffix):
    make(f"x/a{suffix}", f"x/b{suffix.upper()}", f"x/c{suffix}.bak")
    assert targets("x") == ["a.wav", "b.wav"]


def test_the_usual_endings_are_known():
    assert {".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff"} <= AUDIO_SUFFIXES


def test_hidden_files_and_folders_are_ignored(make):
    make("x/.a.wav", "x/.git/b.wav", "x/c.wav")
    assert targets("x") == ["c.wav"]


def test_a_hidden_file_given_by_name_is_taken(make):
    make("x/.a.wav")
    assert targets("x/.a.wav") == [".a.wav"]


def test_links_to_folders_are_not_followed(make):
    make("x/a.wav", "y/b.wav")
    os.symlink(os.path.abspath("x"), "x/loop")
    os.symlink(os.path.abspath("y"), "x/y")
    assert targets("x") == ["a.wav"]


def test_an_output_folder_inside_the_input_is_not_searched(make):
    make("x/a.wav", "x/out/a.wav", "x/out/b.wav")
    assert targets("x", output="x/out") == ["a.wav"]


def test_an_input_inside_the_output_folder_is_searched(make):
    make("out/raw/a.wav")
    assert targets("out/raw") == ["a.wav"]


def test_the_same_file_twice_is_one_job(make):
    make("x/a.wav")
    assert targets("x/a.wav", "./x/a.wav", "x") == ["a.wav"]


def test_a_list_names_files_and_folders(make):
    make("x/a.wav", "y/1/b.flac", "lists/l.TXT")
    Path("lists/l.TXT").write_bytes(
        b"\xef\xbb\xbf# comment\r\n\r\n  x/a.wav \r\ny\r\n   # another\r\n"
    )
    # relative paths start at the current folder, not at the list's
    assert targets("lists/l.TXT") == ["a.wav", "1/b.wav"]


def test_a_folder_with_a_list_name_is_a_folder(make):
    make("x.txt/a.wav")
    Path("l.txt").write_text("x.txt\n")
    assert targets("x.txt") == targets("l.txt") == ["a.wav"]


def test_lists_in_folders_are_left_alone(make):
    make("x/a.wav", "x/notes.txt")
    assert targets("x") == ["a.wav"]


@pytest.mark.parametrize("text", ["", "\n \n", "# only a comment\n"])
def test_an_empty_list_is_refused(make, text):
    Path("l.txt").write_text(text)
    with pytest.raises(ValueError, match="l.txt names no file"):
        targets("l.txt")


def test_a_list_of_lists_is_refused(make):
    make("inner.txt")
    Path("l.txt").write_text("inner.txt\n")
    with pytest.raises(ValueError, match="names another list, inner.txt"):
        targets("l.txt")


def test_a_binary_list_is_refused(make):
    Path("l.txt").write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(ValueError, match="l.txt is not UTF-8 text"):
        targets("l.txt")


def test_every_missing_input_is_named(make):
    make("a.wav")
    Path("l.txt").write_text("a.wav\nlost2.wav\n")
    with pytest.raises(ValueError, match=r"lost1.wav\n  lost2.wav\n  no.txt$"):
        targets("a.wav", "lost1.wav", "l.txt", "no.txt")


def test_many_missing_inputs_are_counted(make):
    with pytest.raises(ValueError, match="l9.wav\n  ... and 2 more$"):
        targets(*(f"l{n}.wav" for n in range(12)))


def test_a_pipe_is_refused(make):
    os.mkfifo("pipe.wav")
    with pytest.raises(ValueError, match="No such file or folder.*\n.*pipe"):
        targets("pipe.wav")


@pytest.mark.parametrize("names", [[], ["x/notes.txt"], ["x/.hidden.wav"]])
def test_a_folder_without_audio_is_refused(make, names):
    Path("x").mkdir()
    make("a.wav", *names)
    with pytest.raises(ValueError, match="folder x holds no audio.*[.]wav"):
        targets("a.wav", "x")


def test_a_folder_that_cannot_be_listed_is_refused(make, monkeypatch):
    make("x/a.wav")

    def scandir(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ValueError, match="x cannot be listed: Permission"):
        targets("x")


@pytest.mark.parametrize(
    "one, two, inputs",
    [
        ("x/a.wav", "x/a.flac", ["x"]),
        ("x/a.wav", "x/a.WAV", ["x"]),
        ("x/a.wav", "y/a.wav", ["x/a.wav", "y/a.wav"]),
        ("x/1/a.wav", "y/1/a.ogg", ["x", "y"]),
        ("a", "a.wav", ["a", "a.wav"]),
    ],
)
def test_two_inputs_with_one_output_are_refused(make, one, two, inputs):
    make(one, two)
    with pytest.raises(ValueError, match="written to one output") as info:
        targets(*inputs)
    assert one in str(info.value) and two in str(info.value)


@pytest.mark.parametrize("output", ["x", "x/../x", "link"])
def test_an_output_over_its_input_is_refused(make, output):
    make("x/a.wav")
    os.symlink("x", "link")
    with pytest.raises(ValueError, match="would overwrite an input.*\n.*a.wav"):
        targets("x", output=output)


def test_an_output_over_another_input_is_refused(make):
    make("x/1/a.wav", "out/1/a.wav")
    with pytest.raises(ValueError, match="x/1/a.wav, over out/1/a.wav"):
        targets("x", "out/1/a.wav")


def test_an_output_linked_to_an_input_is_refused(make):
    make("x/a.wav", "out/other.txt")
    os.link("x/a.wav", "out/a.wav")
    with pytest.raises(ValueError, match="would overwrite an input"):
        targets("x")


def test_a_flac_may_be_enhanced_beside_itself(make):
    make("x/a.flac")
    assert targets("x", output="x") == ["a.wav"]


def test_an_output_that_is_a_folder_is_refused(make):
    make("x/a.wav", "out/a.wav/b.wav")
    with pytest.raises(ValueError, match="name of a folder.*\n.*out/a.wav"):
        targets("x")


def test_a_link_out_of_the_output_folder_is_refused(make):
    make("x/1/a.wav", "other/b.wav", "out/c.wav")
    os.symlink(os.path.abspath("other"), "out/1")
    with pytest.raises(ValueError, match="link leads out of.*\n.*out/1 -> "):
        targets("x")


def test_a_loop_of_links_as_output_is_no_crash(make):
    make("x/a.wav")
    os.symlink("loop", "loop")
    assert targets("x", output="loop") == ["a.wav"]  # refused at writing


@pytest.mark.parametrize("name", ["a.wav", "../b/a.wav", "a", ".wav", "a."])
def test_an_output_name_ends_in_wav_and_keeps_its_folder(name):
    named = Path(name_result(name))
    assert named.suffix == ".wav" and named.parent == Path(name).parent
