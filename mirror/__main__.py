"""``python -m mirror`` is the command ``mirror``."""

from mirror.cli.main import main

main()
