"""Figures in the docs are those that docs/figures.py measured last."""

import importlib
import json

import pytest
from doc_blocks import ROOT

REPOSITORY = "https://github.com/someone/speechbrain_llase.git"


@pytest.fixture(scope="module")
def docs():
    """Imports a program of docs/ as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        yield importlib.import_module


@pytest.fixture(scope="module")
def figures(docs):
    return docs("figures")


@pytest.fixture(scope="module")
def kept(figures):
    """What was measured last."""
    return json.loads(figures.KEPT.read_text("utf-8"))


def test_docs_say_what_was_measured(figures, kept):
    known = figures.known(kept)
    for page in figures.pages():
        text = page.read_text("utf-8")
        assert figures.fill_in(text, known) == text, page


def test_all_figures_are_quoted_and_marks_are_whole(figures, kept):
    texts = "".join(page.read_text("utf-8") for page in figures.pages())
    names = [found[1] for found in figures.INLINE.findall(texts)]
    blocks = [found[1] for found in figures.BLOCK.findall(texts)]
    tables = [found[1] for found in figures.TABLE.findall(texts)]
    assert len(names) >= 40 and len(blocks) >= 3 and len(tables) >= 12
    assert texts.count("<!--fig") == 2 * len(names)
    assert texts.count("<!-- figure: ") == len(blocks) + len(tables)
    assert {*names, *blocks, *tables} <= figures.known(kept).keys()


def test_every_table_of_scores_or_precisions_is_measured(figures):
    """But for records: of benchmarks, and of the recipe's development."""
    for page in figures.pages():
        if page.parts[-2] not in ("benchmarks", "llase_mini"):
            text = figures.TABLE.sub("", page.read_text("utf-8"))
            assert "| OVRL |" not in text, page
            assert "| s per audio second |" not in text, page


@pytest.mark.parametrize(
    "group", "clip scores long flac pictures notebook peers".split()
)
def test_figures_are_of_the_weights_that_are_here(figures, kept, group):
    """After new weights, run docs/figures.py."""
    assert kept["weights"][group] == figures.hash_of_weights()


def test_other_weights_are_named(figures):
    kept = {"weights": {"guard": "0123456789", "peers": "x"}, "a": "1"}
    kept["weights"]["peers"] = figures.hash_of_weights()
    assert figures.known(kept) == {
        "a": "1",
        "guard_weights": "earlier weights (SHA-256 01234567)",
        "peers_weights": "the weights of today",
    }


def test_a_changed_figure_is_put_in(figures):
    text = (
        "of <!--fig a-->1<!--fig-->\n<!-- figure: b -->\n```text\nx\ny\n```\n"
        "<!-- figure: c -->\n\n| x |\n| y |\n\nend\n"
    )
    new = figures.fill_in(text, {"a": "2", "b": "z", "c": "| 1 |\n| 2 |"})
    assert "<!--fig a-->2<!--fig-->" in new and "```text\nz\n```\n" in new
    assert "c -->\n\n| 1 |\n| 2 |\n\nend" in new
    with pytest.raises(KeyError):
        figures.fill_in(text, {"a": "2", "c": ""})


def test_a_record_is_folded(docs):
    parts = docs("figure_groups").fold(
        '{"a": 1, "b": "' + 80 * "x" + '", "c": 3}'
    )
    assert parts.splitlines()[0] == '{"a": 1,' and json.loads(parts)["c"] == 3


def test_tables_are_made_of_what_programs_wrote(docs, tmp_path):
    """Also of a run that was made elsewhere, as long ones are."""
    results = [
        {"compute": name, "s_per_s": cost, "peak_bytes": 5e9}
        for name, cost in (("released", 0.6), ("float32", 0.3))
    ]
    (tmp_path / "speed.json").write_text(json.dumps(results))
    made = docs("figure_tables").measure_speed(None, tmp_path)
    assert "| the released procedure | 0.600 | 1 | 5.0 GB |" in made["speed"]
    assert made["speed"].endswith("| `float32` | 0.300 | 2.0 | 5.0 GB |")
    assert made["speed_short"].endswith("|\n| `float32` | 0.300 | 5.0 GB |")


def test_the_address_is_that_of_setup(docs, kept):
    """Once one is stated, README and notebook have it, and a badge."""
    address = docs("figure_address")
    notebook = address.NOTEBOOK.read_text("utf-8")
    url = address.read_address()
    assert address.with_address(notebook, url) == notebook
    assert kept["colab"] == address.opening(url)
    new = address.with_address(notebook, REPOSITORY)
    assert f'REPOSITORY = \\"{REPOSITORY}\\"' in new
    assert "someone/speechbrain_llase/blob/main/notebooks/llase_mini" in new
    assert "colab-badge.svg" in new and new.count("\n") == notebook.count("\n")
    assert address.with_address(new, url) == notebook
