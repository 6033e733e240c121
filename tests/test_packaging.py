"""Tests of what is installed: setup.py, constraints.txt, package data."""

import importlib.resources
import importlib.util
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement

import speechbrain_llase

ROOT = Path(__file__).parents[1]
MODEL_FOLDERS = sorted(path.parent for path in ROOT.glob("hparams/*/*.yaml"))


@pytest.fixture
def arguments(monkeypatch):
    """The arguments that setup.py gives to setuptools."""
    given = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    runpy.run_path(str(ROOT / "setup.py"))
    return given


def requirements(arguments):
    lines = list(arguments["install_requires"])
    for extra in arguments["extras_require"].values():
        lines += extra
    return [Requirement(line) for line in lines]


def pins():
    """What constraints.txt pins for the running Python."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    parsed = [Requirement(x) for x in lines if x and not x.startswith("#")]
    return {
        normalise(pin.name): pin
        for pin in parsed
        if pin.marker is None or pin.marker.evaluate()
    }


def normalise(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def run_code(code):
    """Run a program in a Python of its own; what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_is_light():
    """Only itself, the finders of `moved` and `late_imports`, and Python's."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "import speechbrain_llase as s\n"
        "more = {name for name in set(sys.modules) - before\n"
        "        if name.partition('.')[0] not in sys.stdlib_module_names}\n"
        "print(s.__version__, *sorted(more))"
    )
    ours = "speechbrain_llase"
    assert run_code(code) == [
        speechbrain_llase.__version__,
        *(ours, f"{ours}.late_imports", f"{ours}.moved"),
    ]


def test_what_the_class_leaves_out():
    """What enhancement does not use is not imported, and works when it is."""
    code = (
        "import sys\n"
        "from speechbrain_llase import EnhanceLLaSE\n"
        "heavy = 'transformers scipy sympy torch._dynamo torch._inductor '\n"
        "heavy += 'joblib av matplotlib onnxruntime librosa pandas pyarrow ray'\n"
        "print(*sorted(set(heavy.split()) & set(sys.modules)), '-')\n"
        "import gc; assert gc.isenabled()\n"
        "from speechbrain.dataio import sampler\n"
        "late = sampler.lognorm.ppf([0.2, 0.5], 1)\n"
        "from scipy.stats import lognorm\n"
        "assert (late == lognorm.ppf([0.2, 0.5], 1)).all()\n"
        "assert type(lognorm).__module__.startswith('scipy')\n"
    )
    assert run_code(code) == ["-"]


def test_version_is_stated_once(arguments):
    assert arguments["version"] == speechbrain_llase.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", arguments["version"])


def test_a_tag_gives_the_notes_of_its_version(tmp_path, monkeypatch):
    """As the workflow of a release does; another version is refused, and an
    address that is not the repository's."""
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    for name in (".ci", "speechbrain_llase"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / ".ci/release", tmp_path / ".ci")
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    shutil.copy(ROOT / "setup.py", tmp_path)
    init = "speechbrain_llase/__init__.py"
    shutil.copy(ROOT / init, tmp_path / init)
    script = str(tmp_path / ".ci/release")
    version = speechbrain_llase.__version__
    notes = run("bash", script, f"v{version}")
    assert "### Added" in notes and "\n## " not in notes
    with pytest.raises(AssertionError, match=f"package states {version}"):
        run("bash", script, "v99.0.0")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/else")
    with pytest.raises(AssertionError, match="github.com/someone/else: write"):
        run("bash", script, f"v{version}")
    url = re.compile('^URL = "(.*)"$', re.MULTILINE)
    text = (tmp_path / "setup.py").read_text("utf-8")
    text = url.sub('URL = "https://github.com/someone/else"', text)
    (tmp_path / "setup.py").write_text(text, "utf-8")
    assert run("bash", script, f"v{version}") == notes
    text = (tmp_path / "CHANGELOG.md").read_text("utf-8")
    (tmp_path / "CHANGELOG.md").write_text(text.replace(f"[{version}]", "[x]"))
    with pytest.raises(AssertionError, match=r"has no section \[0"):
        run("bash", script, f"v{version}")


def test_no_top_level_hparams(arguments):
    tops = {name.split(".")[0] for name in arguments["packages"]}
    assert tops == {"speechbrain_llase"}
    where = arguments["package_dir"]["speechbrain_llase.hparams"]
    assert (ROOT / where / "__init__.py").is_file()


def test_package_data_covers_every_model_file(arguments):
    (pattern,) = arguments["package_data"]["speechbrain_llase.hparams"]
    covered = set((ROOT / "hparams").glob(pattern))
    for folder in MODEL_FOLDERS:
        assert set(folder.rglob("*")) <= covered


@pytest.mark.skipif(not MODEL_FOLDERS, reason="hparams/ has no model yet")
def test_hparams_package_holds_every_model():
    packaged = importlib.resources.files("speechbrain_llase.hparams")
    for folder in MODEL_FOLDERS:
        ours = packaged / folder.name / "hyperparams.yaml"
        assert ours.read_bytes() == (folder / "hyperparams.yaml").read_bytes()


def test_constraints_satisfy_the_ranges(arguments):
    pinned = pins()
    for wanted in requirements(arguments):
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        pin = pinned[normalise(wanted.name)]
        (version,) = pin.specifier
        assert version.operator == "=="
        assert version.version in wanted.specifier, f"{pin} against {wanted}"


def test_constraints_pin_torch():
    pinned = pins()
    for name in ("torch", "torchaudio"):
        assert str(pinned[name].specifier) == "==2.11.0"


def test_ranges_bound_what_may_break(arguments):
    ranges = {x.name: str(x.specifier) for x in requirements(arguments)}
    assert ranges["speechbrain"] == "<1.2,>=1.1"
    assert ranges["transformers"] == ">=5.13"
    assert arguments["python_requires"] == ">=3.11"


def test_resemblyzer_finds_pkg_resources():
    if importlib.util.find_spec("webrtcvad") is None:
        pytest.skip("the extra speaker is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import webrtcvad"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Wheel and source archive, built from a copy of what they are made of."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("archives")
    source = folder / "source"
    source.mkdir()
    for path in (*ROOT.glob("*.*"), ROOT / "LICENSE"):
        if path.is_file():
            shutil.copy(path, source)
    for name in ("examples", "hparams", "speechbrain_llase"):
        caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=caches)
    dist = folder / "dist"
    run(
        *(sys.executable, "-m", "build", "--no-isolation"),
        *("--outdir", str(dist), str(source)),
    )
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    return source, wheel, sdist


def run(*command, **kwargs):
    done = subprocess.run(command, capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_archives_hold_every_model_file(archives):
    source, wheel, sdist = archives
    models = {
        str(path.relative_to(source / "hparams"))
        for path in source.glob("hparams/*/*")
    }
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    inside = "speechbrain_llase/hparams/"
    assert {inside + name for name in models} <= set(names)
    assert inside + "llase_mini/MODEL_CARD.md" in names
    tops = {name.split("/")[0] for name in names}
    assert all(top.startswith("speechbrain_llase") for top in tops), tops

    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {f"hparams/{name}" for name in models} <= names
    assert {"LICENSE", "README.md", "constraints.txt", "setup.py"} <= names
    assert "hparams/llase_mini/MODEL_CARD.md" in names


@pytest.mark.slow
def test_wheel_works_from_another_folder(archives, tmp_path):
    source, wheel, _ = archives
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    python = str(tmp_path / "venv" / "bin" / "python")
    run(
        *(python, "-m", "pip", "install", "--quiet", "--no-deps"),
        *("--no-index", "--disable-pip-version-check", str(wheel)),
    )
    # Only the dependencies come from here; the first path wins, and a line
    # of text does not bring in an editable install.
    site = run(
        python, "-c", "import sysconfig as s; print(s.get_path('purelib'))"
    )
    link = Path(site.strip()) / "dependencies.pth"
    link.write_text(sysconfig.get_path("purelib") + "\n", "utf-8")

    code = (
        "import speechbrain_llase, importlib.resources as r;"
        "print(speechbrain_llase.__file__);"
        "models = r.files('speechbrain_llase.hparams');"
        "print(*sorted(x.name for x in models.iterdir() if"
        " (x / 'hyperparams.yaml').is_file()));"
        "print(speechbrain_llase.EnhanceLLaSE.__name__)"
    )
    where, models, name = run(python, "-c", code, cwd=tmp_path).splitlines()
    assert where.startswith(str(tmp_path))
    listed = sorted(
        path.parent.name for path in source.glob("hparams/*/hyperparams.yaml")
    )
    assert models.split() == listed
    assert name == "EnhanceLLaSE"
    command = str(tmp_path / "venv" / "bin" / "speechbrain-llase")
    version = run(command, "--version", cwd=tmp_path)
    assert speechbrain_llase.__version__ in version
