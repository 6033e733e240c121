"""What Apple's GPUs and Windows lack, taken away on Linux.

That shows what would surely fail there; it does not show that it works.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode

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

WITHOUT = """
import os, signal, sys, types
import torch, torchaudio, speechbrain.inference  # they may use it
from transformers import LlamaModel, WavLMModel
from transformers.models.xcodec2 import modeling_xcodec2
assert not [x for x in sys.modules if x.startswith("speechbrain_llase")]
held = []
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK = 2
msvcrt.locking = lambda *given: held.append(given)
sys.modules.update(fcntl=None, resource=None, pwd=None, grp=None, msvcrt=msvcrt)
for name in ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM"):
    delattr(signal, name)
for name in ("geteuid", "getuid", "fork", "mkfifo", "statvfs"):
    delattr(os, name)
from speechbrain_llase.cli.parser import main
code = main(["enhance", sys.argv[1], "--output", sys.argv[2]])
assert held and held[0][1:] == (2, 1)
import tempfile
from pathlib import Path
from speechbrain_llase.demo import server
from speechbrain_llase.demo.security import private_folder
server.end_by_signals()
server.ignore_signals()
parent = Path(sys.argv[2]).parent / "page"
parent.mkdir()
with private_folder(parent) as folder:
    (folder / "a.wav").touch()
with private_folder(parent):
    pass
assert list(parent.iterdir()) == []
sys.exit(code)
"""


def test_files_and_the_page_do_without_what_windows_lacks(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(CLIP), str(tmp_path / "enhanced")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "enhanced" / "noisy.wav").stat().st_size > 100_000


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
