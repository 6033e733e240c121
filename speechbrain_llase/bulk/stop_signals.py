"""Ctrl-C and SIGTERM: first asked, then told."""

import os
import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ASKED = (
    "\nspeechbrain-llase: stopping after the window at work; "
    "once more stops at once\n"
)


class Stopper:
    """Listen for signals in a `with` block.

    The first one is noted in `signal`, the second one raises
    KeyboardInterrupt.
    """

    def __init__(self):
        self.signal: int | None = None
        self.before = {}

    def __enter__(self) -> "Stopper":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self.before[number] = signal.signal(number, self.hear)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self.signal is None:
            self.signal = number
            os.write(2, ASKED.encode())  # print may be at work itself
        else:
            raise KeyboardInterrupt

    def is_asked(self) -> bool:
        """Tell whether a signal has come."""
        return self.signal is not None
