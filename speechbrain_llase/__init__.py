"""LLaSE, a generative speech enhancer, as a SpeechBrain plugin.

Importing this package is light: torch, speechbrain and transformers are
imported when `EnhanceLLaSE` is first asked for.
"""

from speechbrain_llase import moved

__version__ = "0.1.0"
__all__ = ["EnhanceLLaSE"]

moved.install()


def __getattr__(name: str):
    """Import the public class when it is first used."""
    if name == "EnhanceLLaSE":
        from speechbrain_llase.inference.enhancement import EnhanceLLaSE

        return EnhanceLLaSE
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
