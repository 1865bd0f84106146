"""Ctrl-C that waits for the end of a step."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupt:
    """Turns the first Ctrl-C inside the block into ``requested``; the second interrupts as usual.

    It does so in the main thread of the main process, unless the program has a handler of its own.
    Worker processes are interrupted at once, like the process that started them.

    Parameters
    ----------
    wanted : bool
        False leaves Ctrl-C as it is.
    """

    def __init__(self, wanted: bool) -> None:
        self.requested = False
        self._wanted = wanted
        self._installed = False

    def __enter__(self) -> Self:
        if (
            self._wanted
            and threading.current_thread() is threading.main_thread()
            and multiprocessing.parent_process() is None
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.requested = True
