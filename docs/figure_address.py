"""Write the repository's address where readers need it.

It is stated once, in setup.py; this puts it into the notebook's first cell and
behind a badge that opens the notebook in Colab.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "llase_mini.ipynb"
COLAB = "https://colab.research.google.com"
STATED = re.compile(r'^URL = "(.*)"', re.MULTILINE)
MARK = re.compile(r"(<!--fig colab-->).*?(<!--fig-->)", re.DOTALL)
CELL = re.compile(r'^REPOSITORY = ".*"', re.MULTILINE)


def state_address(data: Path | None, work: Path) -> dict[str, str]:
    """Write the notebook; give the words for README."""
    url = read_address()
    text = with_address(NOTEBOOK.read_text("utf-8"), url)
    NOTEBOOK.write_text(text, "utf-8")
    install = f'`pip install "git+{url or "https://..."}"`'
    return {"colab": opening(url), "git_install": install}


def read_address() -> str:
    """The address in setup.py; empty where there is none yet."""
    return STATED.search((ROOT / "setup.py").read_text("utf-8"))[1]


def opening(url: str) -> str:
    """Markdown that leads to the notebook in Colab: a badge, or how to."""
    if not url:
        return f"[Colab]({COLAB}) (*File, Open notebook, GitHub*)"
    name = url.removesuffix(".git").split("github.com/")[-1]
    target = f"{COLAB}/github/{name}/blob/main/notebooks/{NOTEBOOK.name}"
    return f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({target})"


def with_address(notebook: str, url: str) -> str:
    """The text of the notebook with an address; outputs stay as they are."""
    cells = json.loads(notebook)
    first, second = cells["cells"][:2]
    words = "".join(first["source"])
    words = MARK.sub(rf"\g<1>{opening(url)}\g<2>", words)
    code = CELL.sub(f'REPOSITORY = "{url}"', "".join(second["source"]))
    first["source"] = words.splitlines(keepends=True)
    second["source"] = code.splitlines(keepends=True)
    return json.dumps(cells, indent=1, ensure_ascii=False) + "\n"
