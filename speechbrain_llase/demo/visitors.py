"""Who is at work: one press of the button at a time, each can be stopped.

Authors
 * The speechbrain_llase contributors 2026
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Presses:
    """The presses of a page's button, by visitor.

    Gradio's queue lets one in at a time; the lock here holds where a press
    that was cancelled still finishes its window.
    """

    def __init__(self):
        self._at_work = threading.Lock()
        self._stops: dict[str, threading.Event] = {}
        self._closed = False

    @contextmanager
    def begin(self, visitor: str) -> Iterator[threading.Event]:
        """Wait for one's turn.

        Arguments
        ---------
        visitor : str
            Whose press it is.

        Yields
        ------
        stop : threading.Event
            Set when the press should end.
        """
        stop = self._stops[visitor] = threading.Event()
        if self._closed:
            stop.set()
        try:
            with self._at_work:
                yield stop
        finally:
            if self._stops.get(visitor) is stop:
                del self._stops[visitor]

    def stop(self, visitor: str) -> None:
        """End a visitor's press, if there is one."""
        stop = self._stops.get(visitor)
        if stop:
            stop.set()

    def close(self, patience_s: float) -> bool:
        """End all presses, now and later.

        Arguments
        ---------
        patience_s : float
            How long to wait for the window that runs.

        Returns
        -------
        ended : bool
            Whether nobody is at work any more.
        """
        self._closed = True
        for stop in list(self._stops.values()):
            stop.set()
        ended = self._at_work.acquire(timeout=patience_s)
        if ended:
            self._at_work.release()
        return ended
