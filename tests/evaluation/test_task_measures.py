"""Echo, packet loss and separation, measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbrain_llase.cli import main
from speechbrain_llase.evaluation.voices import find_voices
from speechbrain_llase.metrics import AECMOS, PLCMOS, erle

pytest.importorskip("speechmos")
EXAMPLES = Path(__file__).parents[2] / "examples"


def speech(name="noisy"):
    """Four seconds of the example (T,), float32."""
    wav, _ = soundfile.read(EXAMPLES / f"{name}.wav", dtype="float32")
    return wav[:64000]


@pytest.fixture
def write(tmp_path):
    """A function that writes a file below the test's folder."""

    def put(name, wav):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, wav, 16000)

    return put


def test_opinions_are_those_of_the_package():
    """AECMOS to rounding; PLCMOS again and again, by the same listeners."""
    from speechmos import aecmos, plcmos

    near = speech()
    far = np.roll(near, 9000)
    microphone = 0.5 * (near + far)
    found = AECMOS()(near, microphone, far)
    sample = {"lpb": far, "mic": microphone, "enh": near}
    theirs = aecmos.run(sample, 16000)
    for key, figure in found.items():
        assert figure == pytest.approx(float(theirs[key]), abs=1e-4)
    theirs = plcmos.run(near, 16000)["plcmos"]  # other listeners each time
    ours = PLCMOS()(near)
    assert ours == PLCMOS()(near)
    assert ours == pytest.approx(float(theirs), abs=0.25)


def test_erle_of_silence_is_refused():
    with pytest.raises(ValueError, match="silence"):
        erle(np.zeros(800, np.float32), np.ones(800, np.float32))


def test_echo_from_the_command_line(write, tmp_path, capsys):
    """Columns of the task, and no others that were not asked for."""
    near = speech()
    far = np.roll(near, 9000)
    for name in ("a", "b"):
        write(f"mic/{name}.wav", 0.5 * (near + far))
        write(f"near/{name}.wav", 0.5 * near)
        write(f"far/{name}.flac", far)
    command = ["evaluate", "--noisy", str(tmp_path / "mic"), "--enhanced"]
    command += [str(tmp_path / "near"), "--output", str(tmp_path / "out")]
    command += ["--measures", "aecmos", "erle"]
    assert main([*command, "--task", "aec"]) == 2
    assert "go together" in capsys.readouterr().err
    assert main([*command, "--task", "plc"]) == 2
    assert "aecmos, erle cannot be measured" in capsys.readouterr().err
    command += ["--task", "aec", "--reference", str(tmp_path / "far")]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "| AECMOS echo | AECMOS other | ERLE, dB |" in said
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    rows = {"noisy", "enhanced", "enhanced - noisy"}
    assert set(summary["summary"]) == rows
    level = 10 * np.log10(np.var(0.5 * (near + far)) / np.var(0.5 * near))
    found = summary["summary"]["enhanced"]["erle"]["mean"]
    assert found == pytest.approx(level, abs=0.05)


def test_speakers_are_put_in_order(write, tmp_path):
    """Whatever the order of the results; one without a partner is skipped."""
    one, other = speech(), speech("noisy")[::-1].copy()
    noise = 0.01 * np.random.default_rng(0).standard_normal(64000)
    for name, order in (("a", (one, other)), ("b", (other, one))):
        write(f"mix/{name}.wav", 0.5 * (one + other))
        for k in range(2):
            write(f"made/{name}_{k + 1}.wav", 0.5 * (order[k] + noise))
            write(f"clean/{name}_{k + 1}.wav", 0.5 * (one, other)[k])
    write("mix/c.wav", one)
    places = {"noisy": "mix", "enhanced": "made", "clean": "clean"}
    folders = {row: tmp_path / name for row, name in places.items()}
    clips, (skip,) = find_voices(folders)
    assert skip.clip == "c" and "c_1 and c_2 are not in" in skip.reason
    chosen = {clip.name: clip.waves["enhanced"].stem for clip in clips}
    assert chosen == {"a_1": "a_1", "a_2": "a_2", "b_1": "b_2", "b_2": "b_1"}
    assert {clip.waves["noisy"].stem for clip in clips} == {"a", "b"}
    with pytest.raises(ValueError, match="has a NAME_1 and a NAME_2"):
        find_voices({**folders, "enhanced": tmp_path / "mix"})
