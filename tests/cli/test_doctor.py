"""The doctor: what breaks is named, what runs is said."""

import pytest

from speechbrain_llase.cli import checks as doctor, parser as cli
from speechbrain_llase.pretrained.convert import convert


@pytest.fixture(scope="module")
def folder(stand_in_files, tmp_path_factory):
    """A converted folder of the case `tiny`."""
    files = {
        "wavlm": stand_in_files / "WavLM-Large.pt",
        "lm": stand_in_files / "best.pt.tar",
        "codec": stand_in_files / "xcodec2.ckpt",
    }
    output = tmp_path_factory.mktemp("doctor") / "tiny"
    convert(files, output, lm_heads=4, codec_heads=2)
    return output


def test_this_installation_is_good():
    """The set that the tests run on passes."""
    findings = list(doctor.check_packages())
    assert all(f.good for f in findings)
    assert any("transformers" in f.text for f in findings)


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("transformers", "5.12.1", "needed is 5.13 or newer"),
        ("speechbrain", "1.2.0", "below 1.2"),
        ("torchaudio", "2.10.0", "both of one release"),
        ("soundfile", None, "soundfile is missing"),
    ],
)
def test_what_breaks_is_named(monkeypatch, name, version, message):
    """A version that does not work is a bad finding with advice."""
    real = doctor.installed
    monkeypatch.setattr(
        doctor, "installed", lambda n: version if n == name else real(n)
    )
    bad = [f.text for f in doctor.check_packages() if not f.good]
    assert len(bad) == 1 and message in bad[0]


def test_pins_of_xcodec2_are_mentioned(monkeypatch):
    """Its torch pin is why it cannot be installed normally."""
    real = doctor.installed
    monkeypatch.setattr(
        doctor, "installed", lambda n: "0.1.5" if n == "xcodec2" else real(n)
    )
    assert any("--no-deps" in f.text for f in doctor.check_packages())


def test_folder_checksums(folder, tmp_path, capsys):
    """All hold; then one file is changed and another is gone."""
    assert all(f.good for f in doctor.check_folder(folder))
    assert cli.main(["doctor", str(folder), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "checksum holds" in said and "one second of noise" in said
    with open(folder / "vocoder.ckpt", "r+b") as file:
        file.seek(-4, 2)
        file.write(b"\1\2\3\4")
    (folder / "token_lm.ckpt").rename(tmp_path / "away")
    bad = [f.text for f in doctor.check_folder(folder) if not f.good]
    assert len(bad) == 2
    assert "token_lm.ckpt is missing" in bad[0] and "was changed" in bad[1]
    assert cli.main(["doctor", str(folder), "--device", "cpu"]) == 1
    assert "does not load" in capsys.readouterr().out


def test_no_model(tmp_path, capsys):
    """An empty folder, and a name that nobody knows."""
    assert cli.main(["doctor", str(tmp_path), "--device", "cpu"]) == 1
    assert "no hyperparams.yaml" in capsys.readouterr().out
    assert cli.main(["doctor", "nothing"]) == 2
    assert "There is no model" in capsys.readouterr().err
