"""``python -m mirror`` and the program ``mirror``: the command line, which ctrl-C ends silently even while it loads."""

import os
import signal
import sys

for _name, _mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
    if getattr(sys, _name) is None:  # closed by whoever started it; libraries do not expect that
        setattr(sys, _name, open(os.devnull, _mode))  # noqa: PTH123, SIM115  (pathlib would double the time; open until the end)

_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not if a shell started it in the background
if _heeded:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from mirror.cli.main import main  # noqa: E402  (slow to import)

if _heeded:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if __name__ == "__main__":
    main()
