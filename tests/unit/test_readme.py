"""The README's Python runs, or at least compiles where it needs a hub."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(
    r"(<!-- needs the hub -->\n)?```python\n(.*?)```",
    README.read_text("utf-8"),
    re.DOTALL,
)


def test_there_are_examples():
    """A README without Python would make the test below empty."""
    assert len(BLOCKS) >= 2 and any(not hub for hub, _ in BLOCKS)


@pytest.mark.parametrize("hub, code", BLOCKS)
def test_python_runs(hub, code, tmp_path, monkeypatch):
    """Each block runs in an empty folder that holds noisy.wav."""
    compiled = compile(code, "README.md", "exec")
    if hub:
        return
    noisy = README.parent / "examples" / "noisy.wav"
    (tmp_path / "noisy.wav").write_bytes(noisy.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compiled, {})
