"""A process of statements: ``python -m mirror.services.sql.entry FOLDER MEMORY THREADS``.

It is confined before it loads the libraries that it works with, since these start threads that would not be.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from mirror.services.sql.confinement import confine

#: Whom the kernel ends first when there is no memory left: a statement, before the mirror.
_FIRST_TO_END = "1000"


def main(folder: str, memory: str, threads: str) -> None:
    """Answer questions until stdin ends, or one of them was the last."""
    root = Path(folder)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_END)
    held_by = confine(root)
    # Where there is pandas, pyarrow would spend half a second on importing what nobody needs here.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    from mirror.services.sql import worker  # noqa: PLC0415  (its libraries start threads)

    worker.limit(int(memory))
    worker.serve(root, int(memory), int(threads), held_by)


if __name__ == "__main__":
    main(*sys.argv[1:])
