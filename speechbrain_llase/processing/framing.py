"""The grid of rows that all models share: rate, hop and shortest wave."""

SAMPLE_RATE = 16000  # Hz
HOP_LENGTH = 320  # samples from one row to the next: 50 rows a second
MIN_SAMPLES = 400  # the receptive field of one row: 25 ms


def num_rows(num_samples: int, zero_row: bool = True) -> int:
    """Count the rows that one extraction gives.

    ``floor((T - 400) / 320) + 2`` of T samples at 16 kHz, or 0 under 400; one
    less without the row of zeros at the end.

    Example
    -------
    >>> [num_rows(t) for t in (0, 399, 400, 16000, 16079, 16080)]
    [0, 0, 2, 50, 50, 51]
    >>> num_rows(16000, zero_row=False)
    49
    """
    if num_samples < MIN_SAMPLES:
        return 0
    return (num_samples - MIN_SAMPLES) // HOP_LENGTH + 1 + int(zero_row)
