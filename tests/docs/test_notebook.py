"""The notebook runs from top to bottom; what it showed is stored."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from doc_blocks import ROOT

NOTEBOOK = ROOT / "notebooks" / "llase_mini.ipynb"
CELLS = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
CODE = ["".join(c["source"]) for c in CELLS if c["cell_type"] == "code"]


def test_outputs_are_stored():
    """Of one run from top to bottom; recordings are left out."""
    ran = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert len(ran) >= 10
    assert [c["execution_count"] for c in ran] == [*range(1, len(ran) + 1)]
    outputs = [output for cell in ran for output in cell["outputs"]]
    assert all(x["output_type"] != "error" for x in outputs)
    text = NOTEBOOK.read_text("utf-8")
    assert '"image/png"' in text and "<audio " not in text
    assert "OVRL" in text and "latency 1.0" in text and len(text) < 1_000_000


def test_a_missing_package_is_asked_for(monkeypatch):
    """Without the package and its address the first cell says what to do."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="repository into REPOSITORY"):
        exec(compile(CODE[0], "cell", "exec"), {})


SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
done = InteractiveShell.instance().run_cell(sys.argv[1])
sys.exit(not done.success)
"""


@pytest.mark.slow
def test_the_first_cell_installs_from_git(tmp_path):
    """In an environment that has what is needed, but not the package."""
    pytest.importorskip("IPython")
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    python = tmp_path / "env" / "bin" / "python"
    venv.create(tmp_path / "env", with_pip=True)
    place = run(python, "-c", "import site; print(site.getsitepackages()[0])")
    others = [p for p in sys.path if p.endswith("site-packages")]
    Path(place.strip(), "others.pth").write_text("\n".join(others))
    code = CODE[0].replace('= ""', f'= "{ROOT.as_uri()}"')
    run(python, "-c", SHELL, code, cwd=tmp_path)
    found = "import speechbrain_llase as x; print(x.__file__)"
    assert str(tmp_path / "env") in run(
        python, "-c", found, cwd=tmp_path / "env"
    )
    assert (tmp_path / "speechbrain_llase/examples/noisy.wav").is_file()


def run(*command, **kwargs):
    """What a program printed."""
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, **kwargs
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_vowels_stand_in_for_a_recording(tmp_path, monkeypatch):
    """Where there is no recording, the second cell makes one."""
    pytest.importorskip("IPython")
    soundfile = pytest.importorskip("soundfile")
    monkeypatch.chdir(tmp_path)
    known = {}
    exec(compile(CODE[1], "cell", "exec"), known)
    wav, sample_rate = soundfile.read(known["noisy_file"])
    assert (len(wav), sample_rate) == (96000, 16000)
    assert 0.05 < wav.std() < 0.2 and abs(wav).max() < 1


@pytest.mark.slow
def test_notebook_runs(tmp_path):
    for name in ("nbmake", "ipykernel", "matplotlib", "speechmos"):
        pytest.importorskip(name)
    shutil.copy(NOTEBOOK, tmp_path)
    shutil.copy(ROOT / "examples" / "noisy.wav", tmp_path)
    options = ["--nbmake", "--nbmake-timeout=300", "--overwrite"]
    options += ["-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, NOTEBOOK.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
    shown = (tmp_path / NOTEBOOK.name).read_text("utf-8")
    assert shown.count('"image/png"') == 1  # the picture
    assert shown.count("<audio ") == 4
    assert "largest difference 0.0" in shown
