"""Exported networks give what PyTorch gives, without PyTorch."""

import json
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.cli import main
from speechbrain_llase.inference.windows import plan_windows, window_spans
from speechbrain_llase.processing.framing import HOP_LENGTH, num_rows

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

NOISY = Path(__file__).parents[2] / "examples" / "noisy.wav"
WITHOUT_TORCH = (
    "import runpy, sys; sys.modules |= dict.fromkeys("
    "['torch', 'speechbrain', 'speechbrain_llase', 'soundfile']);"
    "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
APART = 1e-4  # of full scale; all samples are within it on the CPU of the docs
PULSE_APART = 1e-3  # where two periods are as likely, a CPU may take the other
LIGHT = """canvas => {
    const {width, height} = canvas;
    const {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
    return data.filter((x, k) => k % 4 === 0 && x > 128).length;
}"""  # how many points of a picture are light


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """llase_mini, exported by the command."""
    made = tmp_path_factory.mktemp("export") / "mini"
    assert main(["export", "llase_mini", "--output", str(made)]) == 0
    return made


@pytest.fixture(scope="module")
def exported(folder):
    from speechbrain_llase.export.enhance import ExportedModel

    return ExportedModel(folder, threads=1)


@pytest.fixture(scope="module")
def enhancer():
    from speechbrain_llase import EnhanceLLaSE

    return EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})


def clips():
    """What is enhanced: speech, several windows of it, silence, a moment."""
    speech = soundfile.read(NOISY, dtype="float32")[0]
    return {
        "speech": speech,
        "several windows": np.tile(speech, 3)[: 22 * 16000 + 123],
        "silence": np.zeros(8000, np.float32),
        "a moment": speech[40000:44800],
        "too short": speech[40000:40399],
        "nothing": speech[:0],
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", clips())
def test_equals_pytorch(exported, enhancer, name):
    noisy = clips()[name]
    found = exported(noisy)
    expected = enhancer.enhance_batch(torch.from_numpy(noisy)[None])[0].numpy()
    assert found.dtype == np.float32 and found.shape == noisy.shape
    apart = np.sort(np.abs(found - expected))
    assert apart.max(initial=0) < PULSE_APART
    assert apart[: int(0.999 * len(apart))].max(initial=0) < APART


@pytest.mark.slow
def test_int8_is_smaller_and_near(folder, exported, tmp_path):
    """Two thirds of the files; what it changes is 30 dB under the wave."""
    from speechbrain_llase.export.enhance import ExportedModel

    made = tmp_path / "int8"
    given = ["export", "llase_mini", "--output", str(made)]
    assert main([*given, "--compute", "int8"]) == 0
    large, small = (
        sum(path.stat().st_size for path in where.glob("*.onnx"))
        for where in (folder, made)
    )
    assert small < 0.7 * large
    noisy = clips()["speech"]
    expected, found = exported(noisy), ExportedModel(made, threads=1)(noisy)
    error = np.square(found - expected).sum() / np.square(expected).sum()
    assert 1e-8 < error < 1e-3


@pytest.mark.slow
def test_a_refiner_of_other_sizes_is_the_same_as_onnx(tmp_path):
    """Nothing in the export knows how large a network is."""
    import onnxruntime

    from speechbrain_llase.export import networks, onnx_files
    from speechbrain_llase.lobes.spectral_refiner import SpectralRefiner
    from speechbrain_llase.processing import hearing

    torch.manual_seed(0)
    refiner = SpectralRefiner(320, (4, 6, 10), 3, 5, 3, 7, 2).eval()
    torch.nn.init.normal_(refiner.up[-1].conv.weight, std=0.1)
    stages = SimpleNamespace(
        mods={"refiner": refiner}, generative=0.5, window=50, context=0
    )
    stage = networks.RefinerStage(stages, "refiner").eval()
    both = 0.1 * torch.randn(2, 9000)
    path = tmp_path / "refiner.onnx"
    lstm = patch.object(torch.nn.LSTM, "forward", networks.run_lstm)
    level = networks.level_at_any_length
    with torch.no_grad(), lstm, patch.object(hearing, "speech_level", level):
        onnx_files.write_graph(stage, both, path, large=False)
    session = onnxruntime.InferenceSession(path)
    faint = both * torch.tensor([[1e-5], [1.0]])  # bins that little is added to
    for wave in (both, both[:, :4321], faint):
        found = session.run(None, {"x": wave.numpy()})[0]
        with torch.no_grad():
            expected = refiner(wave[:1], wave[1:])[0].numpy()
        assert np.abs(expected).max() > 0.1
        assert np.abs(found - expected).max() < 1e-5


@pytest.mark.slow
def test_a_folder_runs_without_torch(folder, exported, tmp_path):
    """Copied elsewhere, it is a program of its own."""
    output = tmp_path / "enhanced.wav"
    program = [sys.executable, "-c", WITHOUT_TORCH, str(folder / "enhance.py")]
    done = subprocess.run(
        [*program, str(NOISY), str(output)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "8.7 s of audio in" in done.stdout
    found = soundfile.read(output)[0]
    expected = exported(clips()["speech"])
    assert np.abs(found - expected).max() < 1e-4
    words = tmp_path / "words.wav"
    words.write_text("no sound")
    done = subprocess.run(
        [*program, str(words), str(output)], capture_output=True, text=True
    )
    assert done.returncode == 1 and "install soundfile" in done.stderr


@pytest.mark.parametrize("size", [64, 320, 642, 1280, 2048])
def test_transforms_are_those_of_torch(size):
    """In two stages, with matrices that grow less than the size's square."""
    from speechbrain_llase.export.fourier import Bins, stages_of
    from speechbrain_llase.export.real_spectra import RealSpectra

    real, rng = RealSpectra(0), torch.Generator().manual_seed(size)
    for width in (size, size // 2):  # the latter with zeros behind it
        frames = torch.randn(2, 3, width, generator=rng)
        expected, found = torch.fft.rfft(frames, size), real.rfft(frames, size)
        assert torch.allclose(found.real, expected.real, atol=1e-4)
        assert torch.allclose(found.imag, expected.imag, atol=1e-4)
        back = real.irfft(Bins(expected.real, expected.imag), size)
        assert torch.allclose(back, torch.fft.irfft(expected), atol=1e-5)
        power = expected.abs().square()
        lags = real.irfft(power, size)[..., : size // 2]
        wanted = torch.fft.irfft(power)[..., : size // 2]
        assert torch.allclose(lags, wanted, atol=1e-3)
    across, along = real.kept[stages_of, size, torch.float32]
    assert across.numel() + along.numel() < size * size / 2


@pytest.mark.parametrize("size, step", [(512, 160), (1024, 320), (5, 1)])
def test_frames_are_those_of_torch(size, step):
    from speechbrain_llase.export.real_spectra import RealSpectra

    for count in (size, size + 7, 3 * size + step):
        wav = torch.rand(2, count)
        found = RealSpectra(0).unfold(wav, -1, size, step)
        assert torch.equal(found, wav.unfold(-1, size, step))


def test_channels_that_cancel_are_not_averaged():
    from speechbrain_llase.export.enhance import mix_channels

    one, two = np.random.default_rng(0).standard_normal((2, 1000))
    for other, wanted in (
        (one, one),
        (two, (one + two) / 2),
        (0 * one, one / 2),
        (-0.5 * one, one),
        (-2 * one, -2 * one),
    ):
        assert np.allclose(mix_channels(np.stack([one, other], 1)), wanted)
    assert np.array_equal(mix_channels(one[:, None]), one)


@pytest.mark.parametrize("zero_row", [True, False])
def test_windows_are_those_of_the_package(zero_row):
    from speechbrain_llase.export.enhance import place_windows

    sizes = {"window": 7, "context": 2, "zero_row": zero_row, "reach": 80}
    sizes |= {"hop_length": HOP_LENGTH, "min_samples": 400}
    for count in range(0, 12000, 37):
        plan = plan_windows(num_rows(count, zero_row), 7, 2)
        found = place_windows(count, sizes)
        spans = [(w["samples"].start, w["samples"].stop) for w in found]
        assert spans == window_spans(plan, 2, 80, count)
        rows = range(100)
        for own, window in zip(plan, found, strict=True):
            first, last = window["kept"].start, window["kept"].stop
            kept = rows[first // HOP_LENGTH : last // HOP_LENGTH]
            assert kept == own.kept(rows) and window["right"] == own.right


@pytest.fixture
def tab(folder, tmp_path):
    """A browser's tab with the page around the exported model."""
    pytest.importorskip("playwright")
    from npm import npm_package
    from page_driver import CHROMIUM, browser

    from speechbrain_llase.export import web_page

    if not CHROMIUM:
        pytest.skip("no Chromium is here")
    version = web_page.NPM_PACKAGE.removesuffix(".tgz").rpartition("-")[2]
    package = npm_package("onnxruntime-web", version, web_page.SHA512)
    pages = shutil.copytree(folder, tmp_path / "page")
    web_page.write_page(pages, package)
    handler = partial(SimpleHTTPRequestHandler, directory=pages)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with browser() as chromium:
            tab = chromium.new_page(viewport={"width": 375, "height": 667})
            tab.fetched = []
            tab.on("request", lambda request: tab.fetched.append(request.url))
            tab.address = f"http://127.0.0.1:{server.server_port}/"
            tab.goto(tab.address)
            yield tab
        server.shutdown()


@pytest.mark.slow
def test_a_page_enhances_in_the_browser(tab, exported, tmp_path):
    """As Python does, in two windows; nothing is sent, all can be read."""
    from axe import axe_findings

    noisy = np.tile(clips()["speech"], 2)[: 12 * 16000]
    both = np.stack([noisy, -0.5 * noisy], 1)  # the mean would cancel
    soundfile.write(tmp_path / "noisy.wav", both, 16000)
    noisy = soundfile.read(tmp_path / "noisy.wav", dtype="float32")[0][:, 0]
    tab.set_input_files("#file", str(tmp_path / "noisy.wav"))
    tab.click("#go")
    done = tab.locator("#status").get_by_text("real-time factor")
    done.wait_for(timeout=300_000)
    assert "12.0 s of audio in" in tab.inner_text("#status")
    with tab.expect_download() as download:
        tab.click("#download")
    download.value.save_as(tmp_path / "found.wav")
    found, rate = soundfile.read(tmp_path / "found.wav", dtype="float32")
    assert rate == 16000 and found.shape == noisy.shape
    assert np.abs(found - exported(noisy)).max() < 1e-3
    for picture in ("#before-picture", "#after-picture"):
        assert tab.eval_on_selector(picture, LIGHT) > 1000
    allowed = (tab.address, "blob:", "data:")
    assert all(url.startswith(allowed) for url in tab.fetched)
    assert axe_findings(tab) == []
    words = tmp_path / "words.wav"
    words.write_text("no sound")
    tab.set_input_files("#file", str(words))
    tab.click("#go")
    tab.locator("#status").get_by_text("This did not work").wait_for()


@pytest.mark.parametrize(
    "words, said",
    [
        ("--source a b --static new", "--static takes one model; 2 were given"),
        ("--static new --onnxruntime-web x", "there is no file x"),
        ("--onnxruntime-web x", "is for --static DIR; name both"),
        ("--static full", "full is there already"),
    ],
)
def test_a_page_that_cannot_be_written(
    tmp_path, monkeypatch, capsys, words, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    assert main(["demo", *words.split()]) == 2
    assert said in capsys.readouterr().err


def test_the_knob_reaches_the_export(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(
        "speechbrain_llase.cli.demo.export",
        lambda *args, add: given.append(args) or 1,
    )
    output = tmp_path / "page"
    words = ["demo", "--static", str(output), "--generative", "0.25"]
    assert main(words) == 1
    assert given == [("llase_mini", output, 0.25)]


def test_another_package_is_refused(tmp_path, monkeypatch, capsys):
    """Nothing is written; what npm cannot give is asked for."""
    monkeypatch.chdir(tmp_path)
    Path("other.tgz").write_bytes(b"of another version")
    given = ["demo", "--static", "new"]
    assert main([*given, "--onnxruntime-web", "other.tgz"]) == 1
    assert "This is not onnxruntime-web-1" in capsys.readouterr().err
    monkeypatch.setattr(
        "speechbrain_llase.export.web_page.ADDRESS", "http://127.0.0.1:9/x"
    )
    assert main(given) == 1
    said = capsys.readouterr().err
    assert "cannot be read" in said and "name the file by" in said
    assert [path.name for path in tmp_path.iterdir()] == ["other.tgz"]


@pytest.mark.slow
def test_settings_are_those_of_the_model(folder):
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["window"] == 500 and settings["context"] == 50
    assert {f"{name}.onnx" for name in settings["networks"]} == {
        path.name for path in folder.glob("*.onnx")
    }


def test_what_the_runtime_lacks_is_refused(tiny_folder, tmp_path, capsys):
    output = tmp_path / "tiny"
    assert main(["export", str(tiny_folder), "--output", str(output)]) == 1
    assert "does not know" in capsys.readouterr().err
    assert not output.exists()
