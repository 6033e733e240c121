"""The code blocks of README and docs, and what may stand before one.

A block stands between two lines of three backticks, the first with its
language. A comment on the line above says what a block needs that a test does
not have; it is then compiled or parsed, but not run:

    <!-- needs the hub -->
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDS = (
    "the hub",  # downloads
    "a GPU",
    "a data set",
    "a cluster",
    "hours",
    "its surroundings",  # lines of a longer program
)
BLOCK = re.compile(
    r"^(?: *<!-- needs (?P<needs>[^>]*) -->\n)?"
    r"(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A code block."""

    path: Path
    line: int
    language: str
    code: str
    needs: str | None  # why it is not run

    def __str__(self) -> str:
        name = self.path.relative_to(ROOT)
        return f"{name}:{self.line}"

    @property
    def page(self) -> str:
        """The file, from the top of the repository."""
        return str(self.path.relative_to(ROOT))


def pages() -> list[Path]:
    """Every Markdown file that the project writes for readers."""
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    for folder in ("docs", "benchmarks", "hparams", "recipes"):
        found += sorted((ROOT / folder).rglob("*.md"))
    return [path for path in found if "results" not in path.parts]


def read_blocks(path: Path) -> list[Block]:
    """Find the blocks of a page, in order."""
    text = path.read_text("utf-8")
    blocks = []
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        code = textwrap.dedent(match["code"])
        language = match["language"].strip()
        blocks.append(Block(path, line, language, code, match["needs"]))
    fences = re.findall(r"^ *```", text, re.MULTILINE)
    if len(fences) != 2 * len(blocks):
        raise ValueError(f"{path} has a code block that does not end.")
    return blocks
