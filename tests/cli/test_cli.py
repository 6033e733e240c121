"""The command line, with a stand-in for the model that copies its input."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from copier import Copier, describe_run

from speechbrain_llase import __version__
from speechbrain_llase.bulk import worker
from speechbrain_llase.cli import enhance as command, parser as cli
from speechbrain_llase.inference import loading

RATE = 16000


@pytest.fixture
def loads(tmp_path, monkeypatch):
    """Work in an empty folder; collect the arguments of every loading."""
    monkeypatch.chdir(tmp_path)
    calls = []

    def load_enhancer(**options):
        options["copier"] = Copier()
        calls.append(options)
        return options["copier"]

    monkeypatch.setattr(worker, "load_enhancer", load_enhancer)
    monkeypatch.setattr(worker, "describe_run", describe_run)
    return calls


@pytest.fixture
def enhance(loads):
    """Return a function that runs `enhance` with outputs in out/."""
    return lambda *args: cli.main(["enhance", *args, "--output", "out"])


def write(name, seconds=0.1, rate=RATE, channels=1, **kwargs):
    """Write seeded noise, and make its folder."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    shape = (round(seconds * rate), channels)
    wav = np.random.default_rng(0).uniform(-0.5, 0.5, shape)
    sf.write(name, wav, rate, **kwargs)


def outputs():
    """Names of all files below out/, the manifest's aside."""
    found = Path("out").rglob("*")
    names = (p.relative_to("out").as_posix() for p in found if p.is_file())
    return sorted(set(names) - {"manifest.jsonl", "manifest.run.json"})


def lines(path="out/manifest.jsonl"):
    """Records of a manifest by output."""
    found = [json.loads(x) for x in Path(path).read_text().splitlines()]
    assert len({x["output"] for x in found}) == len(found)
    return {x["output"]: x for x in found}


def test_files_folders_and_lists_are_enhanced(enhance, loads, capsys):
    for name in ("one.wav", "dir/a.b.wav", "dir/1/a.flac", "listed.ogg"):
        write(name, seconds=0.5)
    Path("list.txt").write_text("# mine\nlisted.ogg\n")
    assert enhance("one.wav", "dir", "list.txt") == 0
    assert outputs() == ["1/a.wav", "a.b.wav", "listed.wav", "one.wav"]
    info = sf.info("out/1/a.wav")
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (
        RATE,
        1,
        "PCM_16",
        RATE // 2,
    )
    out, err = capsys.readouterr()
    assert "4 enhanced, 0 skipped (output exists), 0 failed" in out
    assert "2.0 s of audio in" in out and "real-time factor" in out
    assert "reading 1 inputs from the list list.txt" in err
    assert len(err.splitlines()) == 3 and len(loads) == 1


def test_the_defaults(enhance, loads):
    write("a.wav")
    assert enhance("a.wav") == 0
    options = loads[0]
    assert options["source"] == "llase_mini" and options["precision"] == "fp32"
    assert options["batch_size"] is None and options["threads"] is None


def test_existing_outputs_are_skipped_and_counted(enhance, loads, capsys):
    write("x/a.wav")
    write("x/b.wav")
    Path("out").mkdir()
    Path("out/a.wav").write_text("mine")
    assert enhance("x") == 0
    assert Path("out/a.wav").read_text() == "mine"
    assert "1 enhanced, 1 skipped" in capsys.readouterr().out
    assert lines()["a.wav"]["status"] == "kept"
    assert lines()["b.wav"]["status"] == "done"
    assert enhance("x") == 0
    assert "0 enhanced, 2 skipped" in capsys.readouterr().out
    assert loads[1]["copier"].fed == []


def test_overwrite_makes_existing_outputs_again(enhance, loads, capsys):
    write("a.wav")
    Path("out").mkdir()
    Path("out/a.wav").write_text("old")
    assert enhance("a.wav", "--overwrite") == 0
    assert sf.info("out/a.wav").frames == 0.1 * RATE
    assert "1 enhanced, 0 skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    "names, inputs, message",
    [
        ([], ["lost.wav"], "No such file or folder"),
        ([], ["lost.txt"], "No such file or folder"),
        (["x/readme.md"], ["x"], "holds no audio"),
        (["list.txt"], ["list.txt"], "names no file"),
        (["x/a.wav", "x/a.flac"], ["x"], "x/a.flac, x/a.wav"),
        (["x/a.wav", "y/a.wav"], ["x/a.wav", "y/a.wav"], "to one output"),
        (["out/a.wav"], ["out"], "overwrite an input"),
    ],
)
def test_a_bad_plan_ends_before_work(
    enhance, loads, capsys, names, inputs, message
):
    for name in ("good.wav", *names):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    before = sorted(Path().rglob("*"))
    assert enhance("good.wav", *inputs) == 2
    assert loads == [] and sorted(Path().rglob("*")) == before
    out, err = capsys.readouterr()
    assert out == "" and message in err
    assert "\nspeechbrain-llase: error: " in err


@pytest.mark.parametrize("output", ["a.wav/out", "loop", "/proc"])
def test_an_unwritable_output_ends_before_work(loads, capsys, output):
    write("a.wav")
    os.symlink("loop", "loop")
    if output == "/proc" and not Path("/proc/self").is_dir():
        pytest.skip("this system has no /proc")
    assert cli.main(["enhance", "a.wav", "--output", output]) == 2
    assert loads == []
    assert f"--output {output} cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args, message",
    [
        ([], "required: COMMAND"),
        (["restore"], "invalid choice: 'restore'"),
        (["enhance", "a.wav"], "required: --output"),
        (["enhance", "--output", "out"], "required: INPUT"),
        (["enhance", "", "--output", "out"], "INPUT: an empty name"),
        (["enhance", "a.wav", "--output", ""], "--output: an empty name"),
        (["--batch-size", "0"], "'0' is not a whole number above zero"),
        (["--batch-size", "2.5"], "'2.5' is not a whole number"),
        (["--threads", "-1"], "'-1' is not a whole number"),
        (["--precision", "int8"], "'int8' (choose from"),
    ],
)
def test_wrong_usage_exits_2(loads, capsys, args, message):
    write("a.wav")
    if args and args[0].startswith("--"):
        args = ["enhance", "a.wav", "--output", "out", *args]
    with pytest.raises(SystemExit) as info:
        cli.main(args)
    assert info.value.code == 2 and loads == []
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def make_bad(name):
    """Make one file of the bad-input list."""
    path = Path("x", name)
    if name.startswith("empty"):
        path.touch()
    elif name.startswith("text"):
        path.write_text("These are words.\n" * 99)
    elif name.startswith("corrupt"):
        write(path, seconds=1)
        data = path.read_bytes()
        path.write_bytes(data[:200] + bytes(len(data) - 200))
    elif name.startswith("link"):
        path.symlink_to("lost.wav")
    elif name.startswith("pipe"):
        os.mkfifo(path)
    elif name.startswith("folder"):
        path.mkdir()
        (path / "deep.wav").write_bytes(b"RIFF")
    elif name.startswith("nan"):
        sf.write(path, np.full(800, np.nan), RATE, subtype="FLOAT")
    elif name.startswith("inf"):
        sf.write(path, np.full(800, np.inf), RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    "name, reason",
    [
        ("empty.wav", "the file is empty"),
        ("text.wav", "cannot be read as audio, not by FFmpeg either"),
        ("corrupt.flac", ""),
        ("link.wav", "not a regular file, or a broken link"),
        ("pipe.wav", "not a regular file, or a broken link"),
        ("folder.wav", "cannot be read as audio"),
        ("nan.wav", "samples that are NaN or infinite"),  # in one line
        ("inf.wav", "samples that are NaN or infinite"),
    ],
)
def test_a_bad_file_is_reported_and_the_others_done(
    enhance, capsys, name, reason
):
    write("x/a.wav")
    write("x/z.wav")
    make_bad(name)
    assert enhance("x") == 1
    assert outputs() == ["a.wav", "z.wav"]
    out, err = capsys.readouterr()
    (line,) = err.splitlines()[2:]
    assert line.startswith(f"speechbrain-llase: failed: x/{name}")
    assert reason in line
    (failed,) = (x for x in lines().values() if x["status"] == "failed")
    assert reason in failed["error"] and f"x/{name}" in failed["input"]
    assert "2 enhanced, 0 skipped (output exists), 1 failed" in out


@pytest.mark.parametrize("error", [RuntimeError(), RuntimeError("v")])
def test_errors_of_single_files_are_reported(
    enhance, monkeypatch, capsys, error
):
    write("a.wav")

    def fail(self, wavs):
        raise error

    monkeypatch.setattr(Copier, "extract", fail)
    assert enhance("a.wav") == 1
    out, err = capsys.readouterr()
    reason = str(error) or "RuntimeError"
    assert err.endswith(f"\nspeechbrain-llase: failed: a.wav: {reason}\n")
    assert len(err.splitlines()) == 3
    assert out.endswith("1 failed; 0.0 s of audio\n")


def test_an_unreadable_file_is_reported(enhance, capsys):
    write("x/a.wav")
    write("x/b.wav")
    Path("x/a.wav").chmod(0)
    if os.access("x/a.wav", os.R_OK):
        pytest.skip("this user reads every file")
    assert enhance("x") == 1
    assert (
        "x/a.wav: cannot be read: Permission denied" in capsys.readouterr().err
    )


def test_a_blocked_output_is_reported(enhance, capsys):
    write("x/1/a.wav")
    write("x/b.wav")
    Path("out").mkdir()
    Path("out/1").touch()
    assert enhance("x") == 1
    assert "failed: x/1/a.wav: " in capsys.readouterr().err
    assert outputs() == ["1", "b.wav"]


def test_a_programming_error_is_not_hidden(enhance, monkeypatch):
    write("a.wav")
    monkeypatch.setattr(Copier, "extract", lambda self: None)
    with pytest.raises(TypeError):
        enhance("a.wav")


@pytest.mark.parametrize(
    "kwargs, loss",
    [
        ({"channels": 2}, "2 channels reduced to one"),
        ({"rate": 48000}, "48000 Hz reduced to 16000 Hz"),
        ({"subtype": "PCM_24"}, "24-bit samples reduced to 16-bit"),
        ({"subtype": "FLOAT"}, "32-bit float samples reduced to 16-bit"),
        (
            {"rate": 44100, "channels": 3, "subtype": "DOUBLE"},
            "3 channels reduced to one, 44100 Hz reduced to 16000 Hz, "
            "64-bit float samples reduced to 16-bit",
        ),
    ],
)
def test_what_the_output_cannot_hold_is_said_once(
    enhance, capsys, kwargs, loss
):
    write("x/a.wav")
    write("x/b.wav", **kwargs)
    assert enhance("x") == 0
    told = capsys.readouterr().err.splitlines()[2:]
    assert told[0] == f"warning: x/b.wav: {loss}"
    assert told[1].endswith("than their inputs: 1 (named above)")
    assert len(told) == 2
    assert lines()["b.wav"]["warnings"] == [loss]


@pytest.mark.parametrize(
    "name, kwargs",
    [
        ("a.wav", {"rate": 8000}),
        ("a.wav", {"subtype": "PCM_U8"}),
        ("a.wav", {"subtype": "ULAW"}),
        ("a.mp3", {}),
        ("a.ogg", {}),
    ],
)
def test_an_input_that_fits_gives_no_warning(enhance, capsys, name, kwargs):
    write(name, **kwargs)
    assert enhance(name) == 0
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_the_wide_encodings_are_libsndfile_s():
    assert set(worker.WIDE_SUBTYPES) <= set(sf.available_subtypes())


@pytest.mark.parametrize(
    "error, line",
    [
        (ValueError("No 'x'.\nKnown: llase"), "error: No 'x'. Known: llase"),
        (OSError("no net"), "error: x cannot be loaded: no net"),
        (RuntimeError("torn"), "error: x cannot be loaded: torn"),
        (KeyError("window_batch"), "cannot be loaded: 'window_batch'"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_one_line(
    enhance, monkeypatch, capsys, error, line
):
    def load_enhancer(**_):
        raise error

    monkeypatch.setattr(worker, "load_enhancer", load_enhancer)
    write("a.wav")
    assert enhance("a.wav", "--source", "x") == 2
    assert capsys.readouterr().err.strip().endswith(line)
    assert outputs() == []


def stub_package(monkeypatch):
    """Replace EnhanceLLaSE by a class that notes how it is loaded."""
    calls = []

    class EnhanceLLaSE:
        @classmethod
        def from_hparams(cls, **kwargs):
            calls.append(kwargs)
            return Copier()

    package = vars(sys.modules["speechbrain_llase"])
    monkeypatch.setitem(package, "EnhanceLLaSE", EnhanceLLaSE)
    monkeypatch.setattr(worker, "describe_run", describe_run)
    return calls


def test_the_arguments_reach_the_model(tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    calls = stub_package(monkeypatch)
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    write("a.wav")
    command = "enhance a.wav --output out --source m --device cpu --threads 3"
    command += " --precision bf16 --batch-size 7 --compute int8"
    assert cli.main(command.split()) == 0
    assert calls == [
        {
            "source": "m",
            "run_opts": {"device": "cpu", "precision": "bf16"},
            "overrides": {"window_batch": 7, "compute": "int8"},
        }
    ]
    assert threads == [3] and outputs() == ["a.wav"]


def test_auto_says_what_it_chose(enhance, capsys):
    write("a.wav")
    assert enhance("a.wav", "--compute", "auto") == 0
    assert "weights are held in bfloat16" in capsys.readouterr().err


def test_the_model_s_own_window_batch_is_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = stub_package(monkeypatch)
    write("a.wav")
    assert cli.main(["enhance", "a.wav", "--output", "out"]) == 0
    assert calls[0]["overrides"] == {}


@pytest.mark.parametrize(
    "name, message",
    [
        ("abacus", "device 'abacus' is unknown"),
        ("cuda", r"device cuda is not here \(0 CUDA devices"),
        ("cuda:1", "device cuda:1 is not here"),
    ],
)
def test_a_device_that_is_not_here_is_refused(monkeypatch, name, message):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ValueError, match=message):
        loading.pick_device(name)


@pytest.mark.parametrize("count, auto", [(0, "cpu"), (2, "cuda")])
def test_the_default_device_is_the_best_one_here(monkeypatch, count, auto):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    assert loading.pick_device("auto") == auto
    assert loading.pick_device("cpu") == "cpu"


def test_a_terminal_sees_progress_in_audio_time(enhance, monkeypatch, capsys):
    write("x/a.wav", seconds=2)
    write("x/b.wav", seconds=3, channels=2)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert enhance("x") == 0
    err = capsys.readouterr().err
    assert "2/2" in err and "5 s of audio" in err and "x real time" in err
    assert "\nwarning: x/b.wav: 2 channels" in err.replace("\r", "\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_cleanly(enhance, monkeypatch, capfd, number):
    """After the window at work; what is finished stays."""
    for name in ("x/a.wav", "x/b.wav", "x/c.wav", "x/d.wav"):
        write(name, seconds=0.5)
    extract = Copier.extract
    calls = []

    def interrupted(self, wavs):
        calls.append(len(wavs))
        if len(calls) == 2:
            signal.raise_signal(number)
        return extract(self, wavs)

    monkeypatch.setattr(Copier, "extract", interrupted)
    assert enhance("x") == 128 + number
    assert calls == [2, 2] and outputs() == ["a.wav", "b.wav"]
    assert set(lines()) == {"a.wav", "b.wav"}
    out, err = capfd.readouterr()
    assert "2 enhanced" in out and "finished files are complete" in err
    assert "once more stops at once" in err
    assert enhance("x") == 0
    assert outputs() == ["a.wav", "b.wav", "c.wav", "d.wav"]


def test_a_second_ctrl_c_stops_at_once(enhance, monkeypatch, capfd):
    write("x/a.wav")

    def interrupted(self, wavs):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    monkeypatch.setattr(Copier, "extract", interrupted)
    assert enhance("x") == 130
    assert outputs() == []
    assert "0 enhanced" in capfd.readouterr().out


def test_an_interrupted_loading_ends_cleanly(enhance, monkeypatch, capsys):
    def load_enhancer(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(worker, "load_enhancer", load_enhancer)
    write("a.wav")
    assert enhance("a.wav") == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_tiny_model_enhances_a_folder(
    tiny_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write("x/1/a.b.wav", seconds=1.3)
    write("x/c.flac", seconds=0.5, rate=48000, channels=2)
    for name in ("empty.wav", "text.wav", "nan.wav"):
        make_bad(name)
    write("x/no_samples.wav", seconds=0)
    command = f"enhance x --output out --source {tiny_folder} --device cpu"
    assert cli.main([*command.split(), "--batch-size", "2"]) == 1
    assert outputs() == ["1/a.b.wav", "c.wav"]
    for name, seconds in (("1/a.b.wav", 1.3), ("c.wav", 0.5)):
        info = sf.info(f"out/{name}")
        assert info.frames == seconds * RATE and info.samplerate == RATE
        assert info.channels == 1 and info.subtype == "PCM_16"
    out, err = capsys.readouterr()
    assert "2 enhanced, 0 skipped (output exists), 4 failed; 1.8 s" in out
    assert "x/c.flac: 2 channels reduced to one, 48000 Hz reduced" in err
    for name in ("empty", "text", "nan", "no_samples"):
        assert f"failed: x/{name}.wav: " in err


def test_an_unknown_model_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("a.wav")
    command = "enhance a.wav --output out --device cpu --source lase"
    assert cli.main(command.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()[2:]
    assert "error: " in line and "'lase'" in line
    assert outputs() == []


def test_version_and_help_are_fast(tmp_path):
    code = (
        "import sys\n"
        "from speechbrain_llase import cli\n"
        "try:\n"
        "    cli.main(sys.argv[1:])\n"
        "finally:\n"
        "    heavy = {'torch', 'numpy', 'speechbrain', 'tqdm', 'transformers'}\n"
        "    print(sorted(heavy & set(sys.modules)))\n"
    )
    root = str(Path(cli.__file__).parents[2])
    for args, word in (
        (["--version"], f"speechbrain-llase {__version__}"),
        (["--help"], "enhance audio files"),
        (["enhance", "--help"], "CC-BY-NC-4.0"),
        (["enhance", "--help"], "16 kHz mono WAV"),
    ):
        run = subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0 and word in run.stdout
        assert run.stdout.endswith("[]\n"), "a heavy module was imported"


def test_what_is_wrong_is_said_before_torch_is_imported(tmp_path):
    """As is the first line of a run; other commands are not imported, either."""
    code = (
        "import io, os, sys\n"
        "class First(io.StringIO):\n"
        "    def write(self, text):\n"
        "        names = [m for m in sys.modules if m == 'torch' or\n"
        "                 m.startswith('speechbrain_llase.demo')]\n"
        "        os.write(1, f'{names} {text}'.encode())\n"
        "        os._exit(7)\n"
        "from speechbrain_llase import cli\n"
        "sys.stderr = First()\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    root = str(Path(cli.__file__).parents[2])
    for args, word in (
        (["enhance", "a.wav"], "usage: "),
        (["enhance", "a.wav", "--output", "out"], "looking for the inputs"),
    ):
        run = subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 7 and run.stdout.startswith("[] ")
        assert word in run.stdout


@pytest.mark.parametrize("given", [None, *cli.WAITING])
def test_threads_sleep_unless_told_otherwise(monkeypatch, given):
    for name in cli.WAITING:
        monkeypatch.setenv(name, "")  # what it was comes back at the end
        monkeypatch.delenv(name)
    if given:
        monkeypatch.setenv(given, "1")
    cli.wait_asleep()
    wanted = {"OMP_WAIT_POLICY": "PASSIVE"} if given is None else {given: "1"}
    found = {name: os.environ.get(name) for name in cli.WAITING}
    assert {k: v for k, v in found.items() if v} == wanted


def test_the_examples_of_the_help_are_commands():
    whole = command.EPILOG.replace("\\\n", "")  # lines that go on
    lines = [line.strip() for line in whole.splitlines()]
    examples = [x for x in lines if x.startswith("speechbrain-llase enhance")]
    assert len(examples) == 8
    for example in examples:
        args = cli.build_parser().parse_args(example.split()[1:])
        assert args.run is command.run


def test_convert(stand_in_files, tmp_path, capsys):
    """Files in, a folder and its licences out; usage errors are 2."""
    files = [
        *("--wavlm", str(stand_in_files / "WavLM-Large.pt")),
        *("--lm", str(stand_in_files / "best.pt.tar")),
        *("--codec", str(stand_in_files / "xcodec2.ckpt")),
    ]
    output = ["--output", str(tmp_path / "model")]
    heads = ["--lm-heads", "4", "--codec-heads", "2"]
    assert cli.main(["convert", *files, *output]) == 1
    assert "--lm-heads" in capsys.readouterr().err
    assert cli.main(["convert", *files, *output, *heads]) == 0
    assert "CC-BY-NC-4.0" in capsys.readouterr().out
    assert (tmp_path / "model" / "hyperparams.yaml").exists()
    assert cli.main(["convert", *files, *output, *heads]) == 2
    assert "new or an empty folder" in capsys.readouterr().err
    files[1] = str(tmp_path / "missing.pt")
    assert cli.main(["convert", *files, *output, *heads]) == 2
    assert "no file" in capsys.readouterr().err
