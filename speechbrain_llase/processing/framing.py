"""The grid of rows that all models share: rate, hop and shortest wave."""

SAMPLE_RATE = 16000  # Hz
HOP_LENGTH = 320  # samples from one row to the next: 50 rows a second
MIN_SAMPLES = 400  # the receptive field of one row: 25 ms


def num_rows(num_samples: int) -> int:
    """Count the rows that one extraction gives, the zero row included.

    ``floor((T - 400) / 320) + 2`` of T samples at 16 kHz, or 0 under 400.

    Example
    -------
    >>> [num_rows(t) for t in (0, 399, 400, 16000, 16079, 16080)]
    [0, 0, 2, 50, 50, 51]
    """
    if num_samples < MIN_SAMPLES:
        return 0
    return (num_samples - MIN_SAMPLES) // HOP_LENGTH + 2
