"""``python -m mirror`` and the program ``mirror``: the command line, which ctrl-C ends silently even while it loads."""

import signal

_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not if a shell started it in the background
if _heeded:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from mirror.cli.main import main  # noqa: E402  (slow to import)

if _heeded:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if __name__ == "__main__":
    main()
