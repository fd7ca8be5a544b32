"""Child processes: what each sets first, and that it ends with the process that started it."""

from __future__ import annotations

import multiprocessing
import os
import threading

from weitiao.machine.hardware import configure_process


def begin_child() -> None:
    """Set what must be set before PyTorch is imported; and let this child of `multiprocessing` end when the process
    that started it is killed, whatever it is computing.

    The worker of a pool has the writing end of its own pipe, so it does not see that nobody is there any more.
    """
    configure_process()
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a child"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
