"""Start the real page, and a real browser that looks at it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(
        None,
        map(shutil.which, ("chromium", "chromium-browser", "google-chrome")),
    ),
    None,
)
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking "
    "--disable-component-update --disable-sync --no-first-run "
    "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
).split()
START_S = 200  # a busy machine takes its time


@contextmanager
def page(folder: Path, *args: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Run `speechbrain-llase demo` on a free port; give address and process.

    Its temporary files go to `folder`/tmp, its errors to `folder`/errors.txt;
    it runs in `folder`.
    """
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "speechbrain_llase.cli", "demo"]
    with open(folder / "errors.txt", "w") as errors:
        process = subprocess.Popen(
            [*command, "--port", "0", "--device", "cpu", *args],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder / "tmp")},
        )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        if not found:
            raise RuntimeError((folder / "errors.txt").read_text())
        yield found[0], process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(START_S)
        process.stdout.close()


@contextmanager
def browser() -> Iterator:
    """A headless Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS
        )
        try:
            yield chromium
        finally:
            chromium.close()


class Visitor:
    """One tab, with what it fetched and complained of.

    Arguments
    ---------
    chromium : Browser
        Where to open it.
    address : str
        Of the page.
    """

    def __init__(self, chromium, address: str, **kwargs):
        self.tab = chromium.new_page(
            viewport={"width": 1280, "height": 900}, **kwargs
        )
        self.tab.set_default_timeout(1000 * START_S)
        self.fetched, self.complaints = [], []
        self.tab.on("request", lambda r: self.fetched.append(r.url))
        self.tab.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.tab.on("console", self._hear)
        self.tab.goto(address)
        self.tab.wait_for_selector("#go")

    def _hear(self, message) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def upload(self, *paths: Path) -> None:
        """Choose files, and wait until they are there."""
        tab = self.tab
        tab.set_input_files("#files input[type=file]", [*map(str, paths)])
        for path in paths:
            tab.locator("#files").get_by_text(path.stem).first.wait_for()
        tab.locator("#files a").nth(len(paths) - 1).wait_for()

    def set_scores(self, wanted: bool) -> None:
        """Open the settings; score or not."""
        box = self.tab.locator("#score input[type=checkbox]")
        if not box.is_visible():
            self.tab.get_by_text("More settings").click()
        box.set_checked(wanted)

    def set_mix(self, percent: int) -> None:
        """Type a number into the mix."""
        number = self.tab.locator("#wet input[type=number]")
        number.fill(str(percent))
        number.press("Enter")

    def press(self) -> None:
        """Press Enhance."""
        self.tab.click("#go")

    def result(self) -> str:
        """Wait for a result; return its words."""
        self.tab.wait_for_selector("#report audio")
        return self.tab.inner_text("#report")

    def words(self) -> str:
        """Wait for an error; return its words."""
        toast = self.tab.locator(".toast-body").first
        toast.wait_for()
        return toast.inner_text()

    def download(self, path: Path, index: int = 0) -> Path:
        """Click on a download; save it."""
        with self.tab.expect_download() as info:
            self.tab.locator("#downloads a").nth(index).click()
        info.value.save_as(path)
        return path
