"""LLaSE, a generative speech enhancer, as a SpeechBrain plugin.

Importing this package is light: torch, speechbrain and transformers are
imported when `EnhanceLLaSE` or `LLaSEG1` is first asked for.
"""

from speechbrain_llase import moved

__version__ = "0.1.0"
__all__ = ["EnhanceLLaSE", "LLaSEG1"]

moved.install()


def __getattr__(name: str):
    """Import a public class when it is first used."""
    if name == "EnhanceLLaSE":
        from speechbrain_llase.inference.enhancement import EnhanceLLaSE

        return EnhanceLLaSE
    if name == "LLaSEG1":
        from speechbrain_llase.inference.llase_g1 import LLaSEG1

        return LLaSEG1
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
