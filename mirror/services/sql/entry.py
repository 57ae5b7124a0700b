"""The entry point of a process for statements: ``python -m mirror.services.sql.entry FOLDER MEMORY THREADS``.

It is confined before it loads the libraries that it works with, since these start threads that would not be confined.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from mirror.services.sql.confinement import confine

#: When memory runs out, the kernel kills a process for statements before the mirror.
_FIRST_TO_END = "1000"


class WithoutPandas:
    """Keeps every library of this process from importing pandas: pyarrow would spend half a second on it, without need.

    An entry of None in ``sys.modules`` would not do: Cython code takes it for the module.
    """

    def find_spec(self, name: str, *_: object) -> None:
        """Nothing for other names; ModuleNotFoundError for pandas."""
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError("pandas is not used here", name=name)


def main(folder: str, memory: str, threads: str) -> None:
    """Answer questions until stdin ends, or one of them was the last."""
    root = Path(folder)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_END)
    held_by = confine(root)
    sys.meta_path.insert(0, WithoutPandas())
    from mirror.services.sql import worker  # noqa: PLC0415  (its libraries start threads)

    worker.limit(int(memory))
    worker.serve(root, int(memory), int(threads), held_by)


if __name__ == "__main__":
    main(*sys.argv[1:])
