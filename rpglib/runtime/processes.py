"""Processes that others started to work for them."""

import os
import signal
import threading
import time

PAUSE = 1.0
"""Seconds between two looks at whether the parent is still there."""


def end_with(parent: int) -> None:
    """End this process soon after its parent, the process of this number: nobody waits for its work any more.

    A parent that is killed cannot tell its workers. Call it first in a worker; a thread keeps watch.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PAUSE)
        # As the parent ended: a mere exit of this thread, or of Python, would wait for the work.
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()
