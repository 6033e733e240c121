"""The page for everybody: axe-core in Chromium, light and dark, on a phone."""

from pathlib import Path

import pytest
from axe import axe_findings
from page_driver import CHROMIUM, Visitor, browser, page

NOISY = Path(__file__).parents[2] / "examples" / "noisy.wav"
PHONE = {"width": 375, "height": 667}

pytest.importorskip("gradio")
pytest.importorskip("playwright")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium is here"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with page(tmp_path_factory.mktemp("page"), "--threads", "1") as (found, _):
        yield found


@pytest.fixture(scope="module", params=["light", "dark"])
def visitor(request, chromium, address):
    """Somebody whose system is light or dark, with a result before them."""
    found = Visitor(chromium, address, color_scheme=request.param)
    found.scheme = request.param
    yield found
    found.tab.close()


def findings(visitor):
    """What axe-core calls serious on the page as it is."""
    visitor.tab.wait_for_timeout(1000)  # colours fade in
    return axe_findings(visitor.tab)


def test_axe_finds_what_is_wrong(visitor):
    """Grey on white, a picture without words."""
    wrong = "<p style='color:#999;background:#fff'>grey</p><img src=x>"
    add = "x => document.body.insertAdjacentHTML('beforeend', x)"
    visitor.tab.evaluate(add, f"<div id=wrong>{wrong}</div>")
    found = " ".join(findings(visitor))
    assert "color-contrast" in found and "image-alt" in found
    visitor.tab.evaluate("() => document.getElementById('wrong').remove()")


def test_nothing_serious_before_anything_is_done(visitor):
    visitor.tab.get_by_text("More settings").click()
    assert findings(visitor) == []
    visitor.tab.get_by_role("tab", name="Record").click()
    visitor.tab.locator("#recording .record-button").first.wait_for()
    assert findings(visitor) == []
    visitor.tab.get_by_role("tab", name="Files").click()


def test_nothing_serious_in_a_result(visitor):
    """The picture is that of the scheme, and says what it shows."""
    visitor.upload(NOISY)
    visitor.press()
    visitor.result()
    shown = visitor.tab.locator(f"#picture .llase-{visitor.scheme} img")
    shown.wait_for()
    assert "Spectrograms of noisy.wav" in shown.get_attribute("alt")
    assert visitor.tab.locator("#picture img:visible").count() == 1
    width = visitor.tab.wait_for_function(
        "() => [...document.querySelectorAll('#picture img')]"
        ".map(x => x.naturalWidth).find(x => x > 0)"
    )
    assert width.json_value() > 500
    assert findings(visitor) == []


def test_nothing_serious_where_something_is_wrong(visitor, tmp_path):
    path = tmp_path / "words.wav"
    path.write_text("These are words.\n" * 99)
    visitor.tab.reload()
    visitor.tab.wait_for_selector("#go")
    visitor.upload(path)
    visitor.press()
    visitor.words()
    assert findings(visitor) == []


def test_a_result_is_in_view_on_a_phone(chromium, address):
    """Nobody has to look for it, and nothing is wider than the screen."""
    one = Visitor(chromium, address)
    one.tab.set_viewport_size(PHONE)
    one.set_scores(False)
    one.upload(NOISY)
    one.press()
    one.result()
    one.tab.wait_for_function(
        "() => {const t = document.querySelector('#report audio')"
        ".getBoundingClientRect().top; return t > 0 && t < innerHeight}"
    )
    wide = "() => document.documentElement.scrollWidth"
    assert one.tab.evaluate(wide) <= PHONE["width"]
    assert findings(one) == []
    one.tab.close()
