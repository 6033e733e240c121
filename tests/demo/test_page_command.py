"""`speechbrain-llase demo`, up to where it would load a model."""

import os
import signal
import socket

import pytest

from speechbrain_llase.cli import demo, parser as cli


@pytest.fixture(autouse=True)
def never_open(monkeypatch):
    """Keep what would be served; change no signal or variable."""
    from speechbrain_llase.demo import server

    opened = []

    def open_page(args, folder, place):
        assert folder.is_dir()
        opened.append((args, folder, place))
        return 0

    monkeypatch.setattr(demo, "open_page", open_page)
    monkeypatch.setattr(demo, "find_spec", lambda name: True)
    monkeypatch.setattr(server, "prepare_gradio", lambda folder: None)
    for name in ("end_by_signals", "ignore_signals"):
        monkeypatch.setattr(server, name, lambda: None)
    return opened


def test_the_defaults(never_open, capsys):
    assert cli.main(["demo", "--port", "0"]) == 0
    args, folder, place = never_open[0]
    assert args.host == "127.0.0.1" and args.source == ["llase_mini"]
    assert (args.max_minutes, args.max_mb, args.max_files) == (60, 500, 20)
    assert place["server_port"] > 0 and place["auth"] is None
    assert not folder.exists()  # whatever happens
    assert capsys.readouterr().err == ""


def test_other_computers_are_warned_about(never_open, capsys, tmp_path):
    command = ["demo", "--host", "0.0.0.0", "--port", "0"]
    assert cli.main(command) == 0
    assert "warning: 0.0.0.0 lets EVERYBODY" in capsys.readouterr().err
    users = tmp_path / "users.txt"
    users.write_text("ada:x\n")
    users.chmod(0o600)
    assert cli.main([*command, "--users", str(users)]) == 0
    assert "lets those in --users use" in capsys.readouterr().err
    assert never_open[1][2]["auth"] == [("ada", "x")]


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert cli.main(["demo"]) == 2
    assert 'pip install "speechbrain_llase[demo]"' in capsys.readouterr().err


def test_a_taken_port_ends_before_work(never_open, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["demo", "--port", str(port)]) == 2
    assert f"--port {port} cannot be used" in capsys.readouterr().err
    assert cli.main(["demo", "--host", "no.such.host.invalid"]) == 2
    assert cli.main(["demo", "--users", "lost.txt", "--port", "0"]) == 2
    assert "--users lost.txt cannot be read" in capsys.readouterr().err
    assert never_open == []


@pytest.mark.parametrize(
    "args, words",
    [
        (["--port", "70000"], "not in 0 to 65535"),
        (["--max-minutes", "0"], "not a whole number above zero"),
        (["--source", ""], "an empty name"),
    ],
)
def test_wrong_usage(args, words, capsys):
    with pytest.raises(SystemExit) as info:
        cli.main(["demo", *args])
    assert info.value.code == 2 and words in capsys.readouterr().err


def test_the_folder_goes_when_loading_fails(never_open, monkeypatch):
    roots = []

    def fail(args, folder, place):
        roots.append(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "open_page", fail)
    assert cli.main(["demo", "--port", "0"]) == 130
    assert roots and not roots[0].exists()


@pytest.fixture
def kept_handlers():
    """Give the signals back as they were."""
    before = {x: signal.getsignal(x) for x in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.skipif(os.name != "posix", reason="SIGHUP is of POSIX")
def test_what_nohup_ignores_stays_ignored(kept_handlers, monkeypatch):
    monkeypatch.undo()  # `never_open` would change no signal
    from speechbrain_llase.demo.server import end_by_signals

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_by_signals()
    os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    end_by_signals()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGHUP)
