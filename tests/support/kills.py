"""Processes that end in mid-work: forks, each killed before another step at the file system, or at another moment."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from functools import partial

_STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree", "ctypes.dlsym", "fcntl.flock"}


def forked(action):
    """Start ``action`` in a fork of this process; it ends with 0, or with 1 after an error."""
    child = os.fork()
    if child:
        return child
    try:
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)  # the others of this process are not in its fork, which would wait for them for ever
        action()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(child):
    """Wait for a fork; its exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at_each_step(action, *, first=1):
    """Yield after each kill the number of the step before which it came, until ``action`` comes to its end.

    A step is a use of the file system: a file opened, a folder made, a name changed (also two at once), something removed, a lock.
    """

    def cut_short(step):
        left = [step]

        def watch(event, _):
            if event in _STEPS:
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        action()

    step = first
    while (code := ended(forked(partial(cut_short, step)))) == -signal.SIGKILL:
        yield step
        step += 1
    assert code == 0, f"the work itself failed at step {step}"


def killed_after(action, seconds):
    """Kill ``action`` so long after its start; whether it was still at work."""
    child = forked(action)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return ended(child) == -signal.SIGKILL
