"""Fixtures of runs over units."""

from collections.abc import Callable, Iterator

import pytest

from speechbrain_llase.cli.parser import main


@pytest.fixture
def hdfs(tmp_path) -> Iterator[str]:
    """URL of another system, that shares no path with this one."""
    pytest.importorskip("requests")
    from web_hdfs import serve

    folder = tmp_path / "behind_the_server"
    folder.mkdir()
    with serve(folder) as url:
        yield url


@pytest.fixture
def enhance(tiny_folder, monkeypatch, tmp_path) -> Callable[..., int]:
    """A function that runs the command with the tiny model."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> int:
        return main(
            ["enhance", *args, "--source", str(tiny_folder), "--device", "cpu"]
        )

    return run
