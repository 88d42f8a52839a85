"""Ending the programs that tests start."""

from __future__ import annotations

import signal
import subprocess


def end_process(process: subprocess.Popen[bytes], how: signal.Signals, seconds: float) -> int:
    """Send `how` where it still runs, wait, and return its exit status; killed where it does not end in time.

    Raises subprocess.TimeoutExpired then.
    """
    if process.poll() is None:
        process.send_signal(how)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
