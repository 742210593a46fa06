"""A worker does not outlive the process that it works for."""

import os
import signal
import subprocess
import sys
import time

PROGRAM = """
import os, sys, time
from rpglib.runtime.processes import end_with
parent = os.getpid()
if os.fork() == 0:
    end_with(parent)
    print(os.getpid(), flush=True)
    time.sleep(60)
time.sleep(60)
"""


def test_a_worker_ends_with_its_killed_parent():
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    time.sleep(0.2)
    os.kill(worker, 0)
    parent.kill()
    parent.wait()
    gone_by = time.time() + 10
    while running(worker) and time.time() < gone_by:
        time.sleep(0.1)
    left = running(worker)
    if left:
        os.kill(worker, signal.SIGKILL)
    assert not left


def running(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
