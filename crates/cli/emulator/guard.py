"""Run a program until standard input closes, then end it and everything it started.

The emulator starts a process for every function. Whoever started this guard may be killed without
a chance to clean up; the kernel then closes its end of the pipe, and nothing is left behind.
"""

import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 3

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever holds the pipe
program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)


def end_with_program():
    """Follow the program when it ends by itself."""
    os._exit(program.wait())


threading.Thread(target=end_with_program, daemon=True).start()
os.read(0, 1)

os.killpg(program.pid, signal.SIGTERM)
try:
    program.wait(GRACE_SECONDS)
finally:
    os.killpg(program.pid, signal.SIGKILL)
