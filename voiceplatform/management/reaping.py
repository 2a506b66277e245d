"""Ends what a supervisor leaves behind when it is killed without a chance to.

Run by `supervising.py` in a session of its own, as `python reaping.py`. Reads one
process group a line from standard input; when that ends (the kernel closes it however
the supervisor died) every group is asked to stop and then killed.
"""

import contextlib
import os
import signal
import sys
import time

GRACE_S = 3.0


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def end(groups: list[int]) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.kill(group, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while any(alive(group) for group in groups) and time.monotonic() < deadline:
        time.sleep(0.1)
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    end([int(line) for line in sys.stdin])
