"""Waits until a URL answers 200, as long as the process that should answer lives.

    answers.py <process id> <URL>
"""

import os
import sys
import time
import urllib.request

process, url = int(sys.argv[1]), sys.argv[2]
until = time.monotonic() + 120
while time.monotonic() < until:
    try:
        urllib.request.urlopen(url, timeout=2).read()
        sys.exit()
    except OSError:
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        sys.exit("it has ended:")
    time.sleep(0.1)
sys.exit(f"{url} does not answer")
