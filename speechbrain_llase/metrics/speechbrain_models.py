"""SpeechBrain models as measures: loading, and the rate that they take.

Authors
 * The speechbrain_llase contributors 2026
"""

from speechbrain_llase.processing.framing import SAMPLE_RATE


def load_interface(interfaces: tuple, source: str, device: str, offline: str):
    """Load a SpeechBrain model with the first interface that it fits.

    Arguments
    ---------
    interfaces : tuple of type
        Subclasses of `Pretrained`, tried in turn.
    source : str
        Folder or hub id.
    device : str
        Where it runs.
    offline : str
        The name that needs no download, for the message.

    Returns
    -------
    interface : Pretrained

    Raises
    ------
    ValueError
        If it cannot be fetched or fits none of the interfaces.
    """
    reasons = []
    for interface in interfaces:
        try:
            model = interface.from_hparams(source, run_opts={"device": device})
        except OSError as err:
            reason = " ".join(str(err).split())[:200]
            raise ValueError(
                f"{source} cannot be fetched ({type(err).__name__}: {reason}). "
                f"Give a local folder, or {offline!r}, which works offline."
            ) from err
        except (ValueError, AttributeError, KeyError) as err:
            reasons.append(f"{interface.__name__}: {err}")
            continue
        missing = [x for x in interface.MODULES_NEEDED if x not in model.mods]
        if not missing:
            return model
        reasons.append(f"{interface.__name__}: no module {missing[0]}")
    raise ValueError(f"{source} cannot be used. {'; '.join(reasons)}")


def check_rate(model, sample_rate: int = SAMPLE_RATE) -> None:
    """Refuse a SpeechBrain model that takes another sample rate.

    Arguments
    ---------
    model : speechbrain.inference.interfaces.Pretrained
        Its `audio_normalizer` says what it takes.
    sample_rate : int
        Of the waves that it would get, in Hz.

    Raises
    ------
    ValueError
        If the rates differ.
    """
    taken = model.audio_normalizer.sample_rate
    if taken != sample_rate:
        raise ValueError(
            f"{type(model).__name__} takes {taken} Hz and the waves are at "
            f"{sample_rate} Hz; resample between the two, or choose a model "
            f"for {sample_rate} Hz."
        )
