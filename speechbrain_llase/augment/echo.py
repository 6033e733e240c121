"""What a microphone hears of a loudspeaker."""

import numpy as np

from speechbrain_llase.augment.mixture import in_room


def make_echo(
    loopback: np.ndarray,
    rir: np.ndarray | None = None,
    drive: float = 0.0,
    delay: int = 0,
) -> np.ndarray:
    """Play a loopback by a loudspeaker that limits, in a room, and late.

    Arguments
    ---------
    loopback : np.ndarray
        What is played, (T,) floating, not silent.
    rir : np.ndarray, optional
        Response of the room from loudspeaker to microphone, (R,); its direct
        path comes at once.
    drive : float
        How hard the loudspeaker is driven: its peaks are bent by a hyperbolic
        tangent of this slope, which adds odd harmonics. 0 is linear.
    delay : int
        Samples by which all of it comes later, as through buffers.

    Returns
    -------
    echo : np.ndarray
        (T,) float32; the loudspeaker's peak is that of the loopback.

    Example
    -------
    >>> make_echo(np.array([0.0, 0.5, -0.5, 0.25]), delay=1).tolist()
    [0.0, 0.0, 0.5, -0.5]
    """
    played = np.asarray(loopback, np.float32)
    if drive > 0:
        peak = np.abs(played).max()
        played = np.tanh(drive / peak * played) * (peak / np.tanh(drive))
    heard = played if rir is None else in_room(played, rir)
    late = np.concatenate((np.zeros(delay, np.float32), heard))
    return late[: played.size].astype(np.float32)
