"""Figures in the docs are those that docs/figures.py measured last."""

import importlib.util
import json

import pytest
from doc_blocks import ROOT


@pytest.fixture(scope="module")
def figures():
    """The program, as a module."""
    path = ROOT / "docs" / "figures.py"
    spec = importlib.util.spec_from_file_location("figures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kept(figures):
    """What was measured last."""
    return json.loads(figures.KEPT.read_text("utf-8"))


def test_docs_say_what_was_measured(figures, kept):
    for page in figures.pages():
        text = page.read_text("utf-8")
        assert figures.fill_in(text, kept) == text, page


def test_all_figures_are_quoted_and_marks_are_whole(figures, kept):
    texts = "".join(page.read_text("utf-8") for page in figures.pages())
    names = [found[1] for found in figures.INLINE.findall(texts)]
    blocks = [found[1] for found in figures.BLOCK.findall(texts)]
    assert len(names) >= 8 and len(blocks) >= 3
    assert texts.count("<!--fig") == 2 * len(names)
    assert texts.count("<!-- figure: ") == len(blocks)
    assert {*names, *blocks} <= kept.keys()


def test_figures_are_of_the_weights_that_are_here(figures, kept):
    """After new weights, run docs/figures.py."""
    assert kept["weights"] == figures.hash_of_weights()


def test_a_changed_figure_is_put_in(figures):
    text = (
        "of <!--fig a-->1<!--fig-->\n<!-- figure: b -->\n```text\nx\ny\n```\n"
    )
    new = figures.fill_in(text, {"a": "2", "b": "z"})
    assert "<!--fig a-->2<!--fig-->" in new and "```text\nz\n```\n" in new
    with pytest.raises(KeyError):
        figures.fill_in(text, {"a": "2"})
    parts = figures.fold('{"a": 1, "b": "' + 80 * "x" + '", "c": 3}')
    assert parts.splitlines()[0] == '{"a": 1,' and json.loads(parts)["c"] == 3
