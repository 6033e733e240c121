"""What Apple's GPUs and Windows lack, taken away on Linux.

That shows what would surely fail there; it does not show that it works.
"""

import ast
import json
import ntpath
import os
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode

from speechbrain_llase.dataio import input_lists, urls
from speechbrain_llase.inference import loading
from speechbrain_llase.training.checkpointing import EpochTotals

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "examples" / "noisy.wav"


# -- MPS -------------------------------------------------------------------


class OnMPS(torch.Tensor):
    """A tensor that refuses float64, as Apple's GPUs do.

    What is made of it is alike, until `cpu` moves it.
    """

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        made = super().__torch_function__(func, types, args, kwargs)
        if not isinstance(made, OnMPS):
            return made
        with torch._C.DisableTorchFunctionSubclass():
            if func is torch.Tensor.cpu:
                return made.as_subclass(torch.Tensor)
            if made.dtype == torch.float64:
                raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return made


def on_mps(wav):
    """The same samples, as if they were on an Apple GPU."""
    return wav.as_subclass(OnMPS)


def test_the_stand_in_refuses_float64():
    wav = on_mps(torch.ones(2))
    with pytest.raises(TypeError, match="float64"):
        wav.double()
    with pytest.raises(TypeError, match="float64"):
        torch.mul(wav, torch.ones(2, dtype=torch.float64))
    assert wav.cpu().double().sum() == 2
    assert isinstance((wav + 1)[:1], OnMPS)


@pytest.mark.parametrize("scheme", ["own", "joined"])
def test_no_stage_needs_float64_on_mps(load_tiny, scheme):
    enhancer = load_tiny(context_from=scheme, restore_level=True, window_s=1.0)
    rng = torch.Generator().manual_seed(0)
    wav = 0.1 * torch.randn(1, 40000, generator=rng)
    expected = enhancer.enhance_batch(wav)
    for parameter in enhancer.parameters():
        parameter.data = on_mps(parameter.data)
    assert torch.equal(enhancer.enhance_batch(on_mps(wav)).cpu(), expected)
    stream = enhancer.stream(window_s=1.0, context_s=0.5)
    assert isinstance(stream.push(on_mps(wav)[0]), OnMPS)
    assert len(stream.close())


def test_sums_of_a_training_need_no_float64_on_mps():
    tally = EpochTotals()
    tally.add(on_mps(torch.tensor([1.0, 2.0, 1.0, 2.0])))
    assert tally.stats()["loss"] == 0.5


class Recorder(TorchDispatchMode):
    """Note the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(str(func).removeprefix("aten."))
        return func(*args, **(kwargs or {}))


def test_every_operation_has_a_kernel_for_mps(load_tiny):
    """In PyTorch's own table of operations and devices."""
    torchgen = pytest.importorskip("torchgen")
    path = "packaged/ATen/native/native_functions.yaml"
    table = {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = Path(torchgen.__path__[0], path).read_text("utf-8")
    for entry in yaml.load(text, loader):
        table[entry["func"].partition("(")[0]] = entry
    enhancer = load_tiny(context_from="own", restore_level=True, window_s=1.0)
    with Recorder() as seen:
        enhancer.enhance_batch(torch.rand(1, 40000) - 0.5, return_details=True)
    names = {name.removesuffix(".default") for name in seen.names}
    assert len(names) > 50
    for name in names - {"_scaled_dot_product_flash_attention_for_cpu"}:
        entry = table[name]
        entry = table.get(entry.get("structured_delegate"), entry)
        devices = ", ".join(entry.get("dispatch", {"Composite": ""}))
        assert "MPS" in devices or "Composite" in devices, name


@pytest.mark.parametrize("platform, chosen", [("darwin", "1"), ("linux", None)])
def test_what_mps_lacks_falls_back_to_the_cpu(platform, chosen):
    """PyTorch reads that word when it is imported."""
    code = (
        "import os, sys; sys.platform = sys.argv[1]; import speechbrain_llase"
    )
    code += "; assert 'torch' not in sys.modules"
    code += "; print(os.environ.get('PYTORCH_ENABLE_MPS_FALLBACK'))"
    command = [sys.executable, "-c", code, platform]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == f"{chosen}\n", done.stderr


@pytest.mark.parametrize(
    "here, name, refused",
    [
        (None, "mps", True),
        (None, "meta", True),
        ("mps", "mps", False),
        ("mps", "xpu", True),
        ("mps", "cpu", False),
    ],
)
def test_an_accelerator_that_is_not_here_is_refused(
    monkeypatch, here, name, refused
):
    found = here and torch.device(here)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: bool(here))
    monkeypatch.setattr(
        "torch.accelerator.current_accelerator", lambda *_: found
    )
    if refused:
        with pytest.raises(ValueError, match=f"device {name} is not here"):
            loading.pick_device(name)
    else:
        assert loading.pick_device(name) == name


# -- Windows ---------------------------------------------------------------

POSIX_MODULES = "fcntl resource termios tty pty pwd grp syslog posix".split()
POSIX_CALLS = """
    fork forkpty geteuid getegid getuid getgid getpgid killpg mkfifo mknod nice
    pathconf sched_getaffinity setsid setuid statvfs sysconf uname wait3 wait4
""".split()
WITHOUT = """
import os, signal, sys, types
import gradio, matplotlib.pyplot, soundfile  # they may use it
import torch, torchaudio, speechbrain.inference
from transformers import LlamaModel, WavLMModel
from transformers.models.xcodec2 import modeling_xcodec2
assert not [x for x in sys.modules if x.startswith("speechbrain_llase")]
held = []
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK = 2
msvcrt.locking = lambda *given: held.append(given)
modules, calls = (x.split(",") for x in sys.argv[3:])
sys.modules.update(dict.fromkeys(modules), msvcrt=msvcrt)
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM"):
    delattr(signal, name)
for name in calls:
    delattr(os, name)
from pathlib import Path
from speechbrain_llase.cli.parser import main
noisy, output = sys.argv[1:3]
made = Path(output, Path(noisy).name)
assert main(["enhance", noisy, "--output", output]) == 0
assert held and held[0][1:] == (2, 1)
assert main(["plot", noisy, str(made), "--output", output + ".png"]) == 0
evaluate = ["evaluate", "--noisy", str(Path(noisy).parent), "--enhanced", output]
scores = output + "_scores"
assert main([*evaluate, "--output", scores, "--measures", "level"]) == 0
from speechbrain_llase.demo import events, layout, server
from speechbrain_llase.demo.security import private_folder
server.end_by_signals()
server.ignore_signals()
parent = Path(output).parent / "page"
parent.mkdir()
with private_folder(parent) as folder:
    (folder / "a.wav").touch()
with private_folder(parent):
    pass
assert list(parent.iterdir()) == []
"""


@pytest.mark.skipif(os.name != "posix", reason="nothing to take away")
def test_the_commands_do_without_what_windows_lacks(tmp_path):
    """`enhance`, `plot`, `evaluate`, and what `demo` does of itself."""
    for package in ("gradio", "matplotlib"):
        pytest.importorskip(package)
    calls = [name for name in POSIX_CALLS if hasattr(os, name)]
    paths = [str(CLIP), str(tmp_path / "enhanced")]
    given = [",".join(POSIX_MODULES), ",".join(calls)]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *paths, *given],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "enhanced" / "noisy.wav").stat().st_size > 100_000
    assert (tmp_path / "enhanced.png").is_file()


def posix_only(tree):
    """What a file imports or calls that POSIX alone has, with no fallback."""
    tried = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.Try)
        for part in block.body
        for node in ast.walk(part)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {node.module}
        else:
            whose = getattr(getattr(node, "value", None), "id", None)
            name = getattr(node, "attr", None)
            if whose == "os" and name in POSIX_CALLS:
                yield f"os.{name}"
            continue
        if id(node) not in tried:
            yield from names & set(POSIX_MODULES)


def test_nothing_needs_posix():
    """Not in the whole package, on the way of a command or not."""
    for path in sorted((ROOT / "speechbrain_llase").rglob("*.py")):
        found = list(posix_only(ast.parse(path.read_text("utf-8"))))
        assert found == [], path


def test_what_needs_posix_is_found():
    tree = ast.parse("import fcntl; from pwd import x; y = os.fork()")
    assert sorted(posix_only(tree)) == ["fcntl", "os.fork", "pwd"]
    tried = "try:\n    import fcntl\nexcept ImportError:\n    fcntl = None"
    assert list(posix_only(ast.parse(tried))) == []


@pytest.fixture
def on_windows(monkeypatch):
    """Paths mean to the list readers and the names of places what they do there."""
    windows = SimpleNamespace(path=ntpath, sep="\\", name="nt")
    for module in (input_lists, urls):
        monkeypatch.setattr(module, "os", windows)
        monkeypatch.setattr(module, "Path", PureWindowsPath)


def test_lists_with_drive_letters(on_windows, tmp_path):
    """Outputs are named below the shared folder, with slashes as everywhere."""
    places = ["C:\\data\\a\\1.wav", "C:/data/b/1.wav"]
    (tmp_path / "a.csv").write_text("wav\n" + "\n".join(places), "utf-8")
    entries = input_lists.read_list(tmp_path / "a.csv")
    assert entries == [
        input_lists.Entry(places[0], "a/1.wav"),
        input_lists.Entry(places[1], "b/1.wav"),
    ]
    rows = "\n".join(json.dumps({"audio_filepath": p}) for p in places)
    (tmp_path / "a.jsonl").write_text(rows, "utf-8")
    assert input_lists.read_list(tmp_path / "a.jsonl") == entries
    (tmp_path / "a.scp").write_text(f"one {places[0]}\n", "utf-8")
    (entry,) = input_lists.read_list(tmp_path / "a.scp")
    assert entry == input_lists.Entry(places[0], "one")
    (tmp_path / "a.txt").write_text("\n".join(places), "utf-8")
    assert [x.path for x in input_lists.read_list(tmp_path / "a.txt")] == places


@pytest.mark.parametrize(
    "name", ["..\\x", "C:\\x", "\\x", "C:x", "/x", "a/../x"]
)
def test_no_name_leads_out_of_the_output_folder(on_windows, tmp_path, name):
    (tmp_path / "a.scp").write_text(f"{name} a.wav\n", "utf-8")
    with pytest.raises(ValueError, match="cannot name an output"):
        input_lists.read_list(tmp_path / "a.scp")


def test_places_with_drive_letters(on_windows):
    place = "C:\\data\\a.wav"
    assert not urls.is_url(place) and not urls.is_url("C:/data/a.wav")
    assert urls.protocol_of(place) == "file"
    assert urls.name_of(place) == urls.name_of("C:/data/a.wav") == "a.wav"
    assert urls.local_path(place) == PureWindowsPath(place)
    for url in ("file:///C:/data/a.wav", "file://C:/data/a.wav"):
        assert urls.local_path(url) == PureWindowsPath(place)
    assert urls.whole("file:///C:/data") == "C:\\data"
    assert urls.split_glob("C:\\data\\*.wav") == ("C:\\data", True)
    assert urls.split_glob("C:/data/*.wav") == ("C:/data", True)


def test_text_is_written_as_utf_8():
    """On Windows a file without a word about it is not."""
    silent = []
    for path in sorted((ROOT / "speechbrain_llase").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and not says_encoding(node):
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert silent == []


def says_encoding(call):
    """Whether a call opens no text, or says in which encoding."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    words = {x.arg for x in call.keywords}
    if name in ("read_text", "write_text") and hasattr(call.func, "attr"):
        return "encoding" in words or len(call.args) > (name == "write_text")
    if name != "open" or not isinstance(call.func, ast.Name):
        return True
    mode = call.args[1].value if len(call.args) > 1 else "r"
    return "b" in mode or "encoding" in words


@pytest.mark.skipif(os.name != "posix", reason="of the stand-ins")
def test_a_silent_call_is_found():
    calls = "open(x); open(x, 'w'); p.read_text(); p.write_text(t)".split("; ")
    for code in calls:
        (node,) = ast.parse(code).body
        assert not says_encoding(node.value)
    for code in ("open(x, 'rb')", "p.read_text('utf-8')", "f.open()"):
        (node,) = ast.parse(code).body
        assert says_encoding(node.value)
