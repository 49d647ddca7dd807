"""Work functions for the tests of worker processes: they end well, badly, late, or not at all."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from verifiers.contract import Outcome, Status


def work(payload: Any) -> Outcome:
    action, argument = payload
    if action == "sleep":
        time.sleep(argument)
    elif action == "spin":
        10**argument % 7  # one C call: neither a signal handler nor another thread gets a turn
    elif action == "exit":
        os._exit(argument)
    elif action == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif action == "babble":
        for descriptor in range(3, 32):
            with contextlib.suppress(OSError):
                os.write(descriptor, argument.encode())
        time.sleep(60)
    elif action == "raise":
        raise ZeroDivisionError(argument)
    elif action == "memory":
        bytearray(argument << 20)
    elif action == "print":
        print(argument, flush=True)
    elif action == "crash once" and not Path(argument).exists():
        Path(argument).touch()
        os._exit(3)
    return Outcome(Status.correct, None, f"pid {os.getpid()}")
