"""The site is built as `make docs` builds it, and fetches nothing."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from doc_blocks import ROOT
from page_driver import CHROMIUM, browser

LOADED = {  # attributes whose address a browser fetches by itself
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("audio", "src"),
    ("video", "src"),
}
FETCHED = {"stylesheet", "preload", "prefetch", "preconnect", "icon"}


class Loads(HTMLParser):
    """Collect what a page makes a browser fetch."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        if tag == "link" and FETCHED & set((known.get("rel") or "").split()):
            self.found.append(known["href"])
        self.found += [v for k, v in attrs if (tag, k) in LOADED]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with --strict in an environment without a network."""
    for name in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {
        "NO_MKDOCS_2_WARNING": "1",
        "https_proxy": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", folder],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def load(name):
    """Import a module of docs/."""
    path = ROOT / "docs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_load_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text("utf-8"))
        assert loads.found, f"{page} has no style: is it read?"
        elsewhere = [x for x in loads.found if re.match("(https?:)?//", x)]
        assert not elsewhere, f"{page} loads {elsewhere}"
        for address in loads.found:
            if not address.startswith("data:"):
                target = page.parent / re.split("[?#]", address)[0]
                if address.startswith("/"):  # the page 404
                    target = site / re.split("[?#]", address)[0][1:]
                assert target.is_file(), f"{page} loads {address}"
    for style in site.rglob("*.css"):
        text = style.read_text("utf-8")
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", text), style


def test_arguments_are_tables(site):
    text = (site / "api" / "enhancing.html").read_text("utf-8")
    body = text.partition(
        'id="speechbrain_llase.inference.enhancement.EnhanceLLaSE.stream"'
    )
    table = body[2].partition("</table>")[0]
    assert "Parameters:" in table and "window_s" in table
    assert "the model's; shorter ones lower" in re.sub(r"\s+", " ", table)
    for page in (site / "api").glob("*.html"):
        shown = page.read_text("utf-8")
        names = "Arguments|Examples?|Parameters|Raises|Returns|Yields"
        raw = re.search(rf"<h\d[^>]*>({names})\b|({names})\s+---", shown)
        assert not raw, f"{page}: {raw} is not parsed"


def test_files_of_the_repository_are_pages(site):
    home = (site / "index.html").read_text("utf-8")
    assert "in one line, on a laptop, offline" in home
    assert 'href="evaluation.html"' in home
    assert 'href="benchmarks.html#speed"' in home
    assert 'href="files/examples/enhance_then_transcribe.py.html"' in home
    commands = (site / "command_line.html").read_text("utf-8")
    assert "<h2 id=" in commands and "--keep-others" in commands
    assert (site / "recipes" / "dns.html").is_file()


def test_search_works_in_a_folder(site):
    """Opened as a file, without a server and without the network."""
    pytest.importorskip("playwright")
    if not CHROMIUM:
        pytest.skip("no Chromium is here")
    with browser() as chromium:
        tab = chromium.new_page()
        fetched = []
        tab.on("request", lambda request: fetched.append(request.url))
        tab.goto((site / "index.html").as_uri())
        tab.locator("input.md-search__input").first.click()
        tab.keyboard.type("tokens")
        tab.wait_for_selector("a.md-search-result__link", timeout=60_000)
        assert "token" in tab.locator("ol.md-search-result__list").inner_text()
        assert all(url.startswith(("file:", "data:")) for url in fetched)


def test_pictures_are_made_by_their_program(tmp_path):
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "pictures").mkdir()
    load("make_pictures").main(tmp_path)
    made = sorted(tmp_path.rglob("*.png"))
    assert len(made) == 3
    for path in made:
        stored = ROOT / "docs" / path.relative_to(tmp_path)
        with image.open(path) as new, image.open(stored) as old:
            assert new.size == old.size
            difference = np.subtract(
                *(np.asarray(x.convert("L"), float) for x in (new, old))
            )
            assert abs(difference).mean() < 5  # of 255; fonts may differ


def test_headings_of_speechbrain_become_numpys():
    rewrite = load("docstrings").rewrite
    docstring = (
        "Add.\n\nArguments\n---------\nx : int\n\nExample\n-------\n>>> 1"
    )
    assert rewrite(docstring) == (
        "Add.\n\nParameters\n----------\nx : int\n\nExamples\n--------\n>>> 1"
    )
    indented = "    Arguments\n    ---------\n    x : int"
    assert rewrite(indented) == "    Parameters\n    ----------\n    x : int"
    assert rewrite("Arguments matter.\n") == "Arguments matter.\n"


def test_links_between_files_become_links_between_pages():
    pytest.importorskip("mkdocs")
    pages = load("site_pages")
    text = "[a](docs/evaluation.md#x), [b](https://c.d), `[e](f)`, [g](LICENSE)"
    assert pages.relink(text, "README.md", "index.md") == (
        "[a](evaluation.md#x), [b](https://c.d), `[e](f)`, "
        "[g](files/LICENSE.md)"
    )
    text = "[a](../../README.md) [b](../../recipes/DNS/enhancement/llase)"
    assert pages.relink(text, "docs/guides/a.md", "guides/a.md") == (
        "[a](../index.md) [b](../recipes/dns.md)"
    )
    with pytest.raises(Exception, match="which is no file"):
        pages.relink("[a](missing.md)", "README.md", "index.md")
