"""``halocline run`` when the disk fills, and when it is killed."""

import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

#: The command, with a pause after each result, so that there is time to end it in the middle.
SLOW = """
import sys, time
from halocline.cli.main import main
from halocline.evaluation.results import ResultFile
add = ResultFile.add
def slowly(self, evaluated, numbers):
    time.sleep(0.005)
    add(self, evaluated, numbers)
ResultFile.add = slowly
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def disk_that_fills(size):
    """Files end at a number of bytes: a limit that the system holds as it holds the end of a disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def killed_run(source, output, model, number):
    """Send a signal once there is output; what the command said on standard error."""
    command = [sys.executable, "-c", SLOW, "run", str(source), "-m", model, "-o", str(output)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (output.exists() and output.stat().st_size):
            time.sleep(0.01)
        process.send_signal(number)
        said = process.communicate()[1]
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    return said
