"""A page that enhances on its visitor's own device, with onnxruntime-web.

It lies in a folder of files that any host can serve as they are; what a visitor
chooses leaves the browser nowhere.
"""

import hashlib
import tarfile
import tempfile
import urllib.request
from importlib import resources
from pathlib import Path
from typing import BinaryIO

PAGES = ("index.html", "page.js", "enhance.js")
NPM_PACKAGE = "onnxruntime-web-1.30.0.tgz"  # MIT
ADDRESS = f"https://registry.npmjs.org/onnxruntime-web/-/{NPM_PACKAGE}"
SHA512 = (  # of the package, as npm states it
    "ab4cbe26baedba45d2cec05610c71c55fa97db92d19a8b171c5f8269126683ca"
    "590a5cdc57bb2f35ce2b298de32f4d956fb42644c0ecd528a0a91e025c07ca61"
)
RUNTIME = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
TIMEOUT_S = 60


def write_page(folder: Path, package: Path | None = None) -> None:
    """Add the page and its runtime to an exported model.

    Arguments
    ---------
    folder : Path
        That of `export_model`; gets `index.html` and what it needs.
    package : Path, optional
        The npm package onnxruntime-web, where it was fetched before; None
        fetches it (33 MB).

    Raises
    ------
    OSError
        The package cannot be had.
    ValueError
        It is another one.
    """
    pages = resources.files("speechbrain_llase.export") / "web"
    for name in PAGES:
        (folder / name).write_bytes((pages / name).read_bytes())
    with tempfile.TemporaryFile() as file:
        if package is None:
            fetch_package(file)
        else:
            file.write(package.read_bytes())
        extract_runtime(file, folder)


def fetch_package(file: BinaryIO) -> None:
    """Read the package from npm's registry into a file."""
    try:
        with urllib.request.urlopen(ADDRESS, timeout=TIMEOUT_S) as answer:
            while piece := answer.read(1 << 20):
                file.write(piece)
    except OSError as err:
        raise OSError(
            f"{ADDRESS} cannot be read ({err}); fetch it elsewhere and name "
            "the file by --onnxruntime-web"
        ) from err


def extract_runtime(file: BinaryIO, folder: Path) -> None:
    """Take what the page needs out of the package, if it is the one wanted."""
    file.seek(0)
    found = hashlib.file_digest(file, "sha512").hexdigest()
    if found != SHA512:
        raise ValueError(
            f"This is not {NPM_PACKAGE}: its SHA-512 is {found[:16]}..., wanted is "
            f"{SHA512[:16]}...; fetch {ADDRESS} again"
        )
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        for name in RUNTIME:
            data = archive.extractfile(f"package/dist/{name}").read()
            (folder / name).write_bytes(data)
