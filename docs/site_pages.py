"""Pages of the site that are made of other files of the repository.

README, model card, changelog, benchmarks and recipes appear as they stand:
nothing is copied. Links between files of the repository are turned into links
between pages; a linked program or YAML becomes a page that shows it.
"""

import argparse
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "hparams/llase_mini/MODEL_CARD.md": "model_card.md",
    "benchmarks/README.md": "benchmarks.md",
    "notebooks/llase_mini.ipynb": "notebook.md",
    "recipes/DNS/enhancement/llase/README.md": "recipes/dns.md",
    "recipes/Folders/enhance/llase/README.md": "recipes/folders.md",
    "recipes/LibriMix/separation/llase_g1/README.md": "recipes/librimix.md",
    "recipes/LibriSpeech/enhance/llase_mini/README.md": "recipes/llase_mini.md",
    "recipes/RescueSpeech/ASR/llase/README.md": "recipes/rescuespeech.md",
    "recipes/Voicebank/enhance/llase/README.md": "recipes/voicebank.md",
}
LANGUAGES = {".py": "python", ".yaml": "yaml", ".csv": "text", "": "text"}
FENCED = re.compile(r"(^ *```.*?^ *```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file in docs/."""
    for source, uri in PAGES.items():
        text = relink(read(source), source, uri)
        files.append(File.generated(config, uri, content=text))
    text = describe_commands()
    files.append(File.generated(config, "command_line.md", content=text))
    for path in sorted(set(shown_files(files))):
        text = show((ROOT / path).read_text("utf-8"), path)
        page = File.generated(config, site_uri(path), content=text)
        page.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Page, **_) -> str:
    """Turn the links of a page in docs/ into links between pages."""
    if page.file.generated_by:
        return markdown  # its links are those of pages already
    return relink(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)


def relink(text: str, source: str, uri: str) -> str:
    """Turn links between files into links between pages.

    Arguments
    ---------
    text : str
        Markdown.
    source : str
        The file that holds it, from the top of the repository.
    uri : str
        The page that it becomes, from the top of the site.

    Returns
    -------
    text : str
        Markdown; what is code stays as it is.
    """

    def rename(match: re.Match) -> str:
        target = match["target"]
        if ":" in target:
            return match[0]
        page = site_uri(resolve(source, target))
        page = posixpath.relpath(page, posixpath.dirname(uri) or ".")
        return f"]({page}{match['anchor'] or ''})"

    parts = FENCED.split(text)  # odd ones are code
    parts[::2] = [LINK.sub(rename, part) for part in parts[::2]]
    return "".join(parts)


def resolve(source: str, target: str) -> str:
    """Find the file that a link means, from the top of the repository."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if (ROOT / path / "README.md").is_file():
        path = f"{path}/README.md"
    if not (ROOT / path).is_file() or path.startswith(".."):
        raise PluginError(f"{source} links to {target}, which is no file.")
    return path


def site_uri(path: str) -> str:
    """Page, picture or listing that a file of the repository becomes."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if Path(path).suffix not in LANGUAGES:
        raise PluginError(f"{path} is linked to and cannot be shown.")
    return f"files/{path}.md"


def shown_files(files: Files) -> Iterator[str]:
    """Yield the programs and YAMLs that any page links to."""
    sources = [*PAGES]
    for file in files.documentation_pages():
        if not file.generated_by:
            sources.append(f"docs/{file.src_uri}")
    for source in sources:
        for part in FENCED.split(read(source))[::2]:
            for match in LINK.finditer(part):
                if ":" in match["target"]:
                    continue
                path = resolve(source, match["target"])
                if path not in PAGES and not path.startswith("docs/"):
                    yield path


def read(source: str) -> str:
    """Read a file as Markdown; the cells of a notebook one after the other."""
    text = (ROOT / source).read_text("utf-8")
    if not source.endswith(".ipynb"):
        return text
    parts = []
    for cell in json.loads(text)["cells"]:
        part = "".join(cell["source"])
        code = cell["cell_type"] == "code"
        parts.append(f"```python\n{part}\n```" if code else part)
    return "\n\n".join(parts)


def show(text: str, path: str) -> str:
    """Make a page of a program."""
    language = LANGUAGES[Path(path).suffix]
    return f"# {path}\n\n````{language}\n{text}\n````\n"


def describe_commands() -> str:
    """Write what `--help` says, for every sub-command."""
    from speechbrain_llase.cli.parser import build_parser

    parser = build_parser()
    (subparsers,) = (
        action
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    parts = [
        "# Command line\n\n"
        "`speechbrain-llase COMMAND --help` prints what stands here.\n"
    ]
    for name, command in subparsers.choices.items():
        text = command.format_help().strip()
        parts.append(f"## {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)
