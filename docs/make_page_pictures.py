"""Take the pictures of the page that docs/page.md shows.

Needs Chromium, and pip install "speechbrain_llase[demo]" playwright. From the
top of the repository:

    python docs/make_page_pictures.py
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
NOISY = ROOT / "examples" / "noisy.wav"
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from page_driver import Visitor, browser, page  # noqa: E402


def main() -> None:
    """Start the page, use it, write page.png, page_result.png and so on."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with page(place) as (address, _), browser() as chromium:
            visitor = Visitor(chromium, address)
            visitor.tab.get_by_text("More settings").click()
            visitor.tab.wait_for_timeout(500)
            take(visitor, "page")
            visitor.tab.reload()
            visitor.upload(NOISY)
            visitor.press()
            visitor.result()
            visitor.tab.wait_for_selector("#picture img")
            visitor.tab.wait_for_timeout(1500)
            take(visitor, "page_result")
            wrong = place / "notes.wav"
            wrong.write_text("These are words, not samples.\n" * 20)
            visitor.tab.reload()
            visitor.upload(wrong)
            visitor.press()
            visitor.words()
            visitor.tab.wait_for_timeout(1500)
            take(visitor, "page_error")


def take(visitor: Visitor, name: str) -> None:
    """Write a picture of the whole page, in 256 colours."""
    path = ROOT / "docs" / f"{name}.png"
    visitor.tab.screenshot(path=path, full_page=True)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(256, kmeans=2, dither=0)
    few.save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
