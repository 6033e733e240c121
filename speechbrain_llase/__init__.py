"""LLaSE, a generative speech enhancer, as a SpeechBrain plugin.

Importing this package is light: torch, speechbrain and transformers are
imported when `EnhanceLLaSE` or `LLaSEG1` is first asked for. On a Mac, what
PyTorch lacks for Apple's GPUs runs on the CPU then, if PyTorch was not imported
before.
"""

import os
import sys

from speechbrain_llase import late_imports, moved

__version__ = "0.1.0"
__all__ = ["EnhanceLLaSE", "LLaSEG1"]

if sys.platform == "darwin":
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
moved.install()
late_imports.hold_back()


def __getattr__(name: str):
    """Import a public class when it is first used."""
    with late_imports.collector_paused():
        if name == "EnhanceLLaSE":
            from speechbrain_llase.inference.enhancement import EnhanceLLaSE

            return EnhanceLLaSE
        if name == "LLaSEG1":
            from speechbrain_llase.inference.llase_g1 import LLaSEG1

            return LLaSEG1
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
