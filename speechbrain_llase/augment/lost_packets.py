"""Packets that are lost in bursts: the model of Gilbert and Elliott."""

import numpy as np

PACKET = 320  # samples; 20 ms at 16 kHz


def lose_packets(
    wave: np.ndarray,
    loss: float,
    burst: float,
    rng: np.random.Generator,
    bad_loss: float = 1.0,
    packet: int = PACKET,
) -> np.ndarray:
    """Silence packets, as a network loses them.

    A line is good, or bad, where each packet is lost with the chance
    `bad_loss` (Gilbert, Bell System Technical Journal 1960; Elliott, 1963).

    Arguments
    ---------
    wave : np.ndarray
        (T,) floating.
    loss : float
        Share of packets that are lost on average, at least 0 and below
        `bad_loss`.
    burst : float
        Packets for which the line stays bad on average, at least 1.
    rng : np.random.Generator
        Source of all randomness.
    bad_loss : float
        Above 0, at most 1; with 1 a burst loses all its packets.
    packet : int
        Samples of a packet.

    Returns
    -------
    lossy : np.ndarray
        (T,) float32, zeros where packets are lost.

    Raises
    ------
    ValueError
        A share or a length is out of its range.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> lossy = lose_packets(np.ones(16000), 0.2, 3, rng)
    >>> int((lossy == 0).sum()) % PACKET
    0
    """
    if not (0 <= loss < bad_loss <= 1 and burst >= 1):
        raise ValueError(
            f"loss={loss} must lie in [0, bad_loss={bad_loss}), bad_loss in "
            f"(0, 1], and burst={burst} must be at least 1."
        )
    share, leaves = loss / bad_loss, 1 / burst  # of the time that it is bad
    enters = min(leaves * share / (1 - share), 1)
    count = -(-wave.size // packet)
    turns, losses = rng.random((2, count))
    bad, lost = bool(rng.random() < share), np.zeros(count, bool)
    for k in range(count):
        lost[k] = bad and losses[k] < bad_loss
        bad = turns[k] >= leaves if bad else turns[k] < enters
    kept = ~np.repeat(lost, packet)[: wave.size]
    return wave.astype(np.float32) * kept
