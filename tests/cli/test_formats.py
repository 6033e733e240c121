"""How results are written: names, formats, widths, tags, mixes; and messages."""

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from copier import Copier
from local_runs import contents, enhance, make_inputs

from speechbrain_llase.bulk import worker
from speechbrain_llase.cli import parser as cli
from speechbrain_llase.dataio import audio_formats
from speechbrain_llase.dataio.audio_formats import FORMATS, Format, read_tags

TITLE = {"title": "A talk", "date": "2024", "artist": "Somebody"}


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """Five files in in/, and the models that get loaded."""
    return make_inputs(tmp_path, monkeypatch)


def write(name, tags=None, **kwargs):
    """Half a second of noise with tags."""
    wav = np.random.default_rng(3).uniform(-0.5, 0.5, 8000)
    Path(name).parent.mkdir(exist_ok=True, parents=True)
    with sf.SoundFile(name, "w", 16000, 1, **kwargs) as sound:
        for key, text in (tags or {}).items():
            setattr(sound, key, text)
        sound.write(wav)
    return wav


# -- one file ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["clean.wav", "new/clean.flac", "clean.OGG"])
def test_the_output_of_one_input_may_be_a_file(name):
    assert enhance(inputs=["in/a.wav"], output=name) == 0
    assert Path(name).is_file() and sf.info(name).frames >= 3000
    folder = Path(name).parent
    assert not any(
        p.suffix == ".jsonl" and p.name[0] != "." for p in folder.iterdir()
    )
    assert enhance(inputs=["in/a.wav"], output=name) == 0  # it is kept
    assert enhance("--overwrite", inputs=["in/a.wav"], output=name) == 0


def test_several_results_of_one_file_are_refused(capsys):
    assert enhance(output="clean.wav") == 2
    assert "--output clean.wav names one sound file" in capsys.readouterr().err
    assert not Path("clean.wav").exists()


def test_a_folder_may_have_such_a_name():
    Path("old.wav").mkdir()
    assert enhance(output="old.wav") == 0
    assert Path("old.wav/1/c.wav").is_file()


# -- formats -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [x for x in FORMATS if x[0] != "m" or x == "mp3"]
)
@pytest.mark.parametrize("option", ["--format", "--audio-format"])
def test_formats_of_libsndfile(name, option):
    assert enhance(option, name, inputs=["in/1"]) == 0
    assert {Path(x).suffix for x in contents()} == {f".{name}"}
    info = sf.info(f"out/c.{name}")
    assert info.samplerate == 16000 and info.channels == 1
    assert abs(info.frames - 3200) < 1200


@pytest.mark.parametrize("name", ["m4a", "mp4", "mkv"])
def test_formats_of_pyav(name):
    av = pytest.importorskip("av")
    write("in/tagged.flac", TITLE)
    assert enhance("--format", name, inputs=["in/tagged.flac"]) == 0
    with av.open(f"out/tagged.{name}") as container:
        (stream,) = container.streams
        assert stream.codec_context.name == "aac" and stream.rate == 16000
        count = sum(frame.samples for frame in container.decode(stream))
    assert abs(count - 8000) <= 3 * 1024
    assert read_tags(f"out/tagged.{name}")["title"] == TITLE["title"]


def test_formats_without_pyav(monkeypatch, capsys):
    monkeypatch.setattr("speechbrain_llase.dataio.films.has_av", lambda: False)
    assert enhance("--format", "m4a", inputs=["in/a.wav"]) == 1
    assert "pip install" in capsys.readouterr().err
    assert not contents()


def test_the_same_format(capsys):
    write("some/a.flac")
    write("some/b.ogg")
    write("some/c.aiff")
    assert enhance("--format", "same", inputs=["some"]) == 0
    assert sorted(contents()) == ["a.flac", "b.ogg", "c.wav"]
    assert "cannot write .aiff: WAV in its place" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, subtype",
    [
        (["--subtype", "24"], "PCM_24"),
        (["--subtype", "float"], "FLOAT"),
        (["--format", "flac", "--subtype", "24"], "PCM_24"),
        ([], "PCM_16"),
    ],
)
def test_widths_of_samples(options, subtype, capsys):
    write("wide/a.wav", subtype="PCM_24")
    assert enhance(*options, inputs=["wide"]) == 0
    (name,) = contents()
    assert sf.info(f"out/{name}").subtype == subtype
    said = "24-bit samples reduced" in capsys.readouterr().err
    assert said == (subtype == "PCM_16")


@pytest.mark.parametrize("name", ["mp3", "ogg", "mkv"])
def test_widths_that_a_format_lacks(name, capsys):
    assert enhance("--format", name, "--subtype", "24") == 2
    assert "does not go with the format" in capsys.readouterr().err
    with pytest.raises(ValueError, match="must be one of"):
        Format("aiff")


@pytest.mark.parametrize("name", ["wav", "flac", "ogg"])
def test_tags_are_copied(name):
    write("in/tagged.flac", TITLE)
    assert enhance("--format", name, inputs=["in/tagged.flac"]) == 0
    found = read_tags(f"out/tagged.{name}")
    assert {key: found.get(key) for key in TITLE} == TITLE
    assert read_tags("in/a.wav") == {}
    assert set(audio_formats.TAG_NAMES) >= set(TITLE)


# -- mixes -------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_mix_holds_the_input(share, monkeypatch):
    """The model copies, at its input's level, but with its sign changed."""
    noisy, _ = sf.read("in/a.wav")
    copy = Copier.decode
    monkeypatch.setattr(Copier, "decode", lambda s, t: [-x for x in copy(s, t)])

    def load(mix, **_):
        copier = Copier()
        copier.mix = mix
        return copier

    monkeypatch.setattr(worker, "load_enhancer", load)
    assert enhance("--mix", str(share), inputs=["in/a.wav"]) == 0
    wav, _ = sf.read("out/a.wav")
    expected = (1 - 2 * share) * noisy
    assert np.abs(wav - expected)[:2880].max() < 3e-3


def test_a_mix_in_python(load_tiny, speech_like):
    """`having` gives the same model that mixes, in batches and in files."""
    sf.write("noisy.wav", speech_like[:16000].numpy(), 16000, "FLOAT")
    model = load_tiny(restore_level=True)
    noisy, half = speech_like[None, :16000], model.having(mix=0.5)
    whole, mixed = model.enhance_batch(noisy), half.enhance_batch(noisy)
    torch.testing.assert_close(mixed, (whole + noisy) / 2, atol=1e-5, rtol=0)
    half.enhance_file("noisy.wav", "half.flac", subtype="24")
    assert sf.info("half.flac").subtype == "PCM_24"
    wav, _ = sf.read("half.flac", dtype="float32")
    torch.testing.assert_close(
        torch.from_numpy(wav), mixed[0], atol=2e-5, rtol=0
    )
    with pytest.raises(ValueError, match="mix=2"):
        model.having(mix=2)
    with pytest.raises(ValueError, match="does not go with"):
        model.enhance_file("noisy.wav", "half.ogg", subtype="24")


@pytest.mark.parametrize("share", ["1.5", "-1", "half", "nan"])
def test_shares_that_are_none(share, capsys):
    with pytest.raises(SystemExit):
        enhance("--mix", share)
    assert "is not in 0 to 1" in capsys.readouterr().err


# -- messages ----------------------------------------------------------------


def test_what_happens_is_said_at_once(capsys, monkeypatch):
    """Before the model is loaded, and before anything is looked at."""
    begun = time.monotonic()
    monkeypatch.setattr(
        "speechbrain_llase.cli.enhance.plan_task",
        lambda *_: (_ for _ in ()).throw(ValueError("looked")),
    )
    assert cli.main(["enhance", "in", "--output", "out"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("speechbrain-llase: looking for the inputs\n")
    assert time.monotonic() - begun < 5


def test_lists_are_named(capsys):
    Path("notes.txt").write_text("in/a.wav\nin/1\n")
    assert enhance(inputs=["notes.txt"]) == 0
    told = capsys.readouterr().err
    assert "reading 2 inputs from the list notes.txt" in told
    assert "3 to enhance; loading the model llase_mini" in told


def test_a_list_in_which_nothing_exists(capsys):
    Path("notes.txt").write_text("Dear diary,\ntoday it rained.\n")
    assert enhance(inputs=["notes.txt", "in/a.wav"]) == 2
    told = capsys.readouterr().err
    assert "notes.txt is taken for a list" in told and "2 lines" in told


def test_only_real_losses_are_counted(capsys):
    """A peak that was scaled is no loss of channels, rate or bits."""
    write("loud/a.wav")
    write("loud/b.wav", subtype="FLOAT")
    assert enhance(inputs=["loud"]) == 0
    told = capsys.readouterr().err
    assert "fewer bits than their inputs: 1 (named above)" in told.replace(
        "\n", " "
    )
