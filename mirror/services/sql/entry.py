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


class WithoutPandas:
    """Lets no library of this process import pandas: pyarrow would spend half a second on it, and nobody needs it here.

    An entry of None in ``sys.modules`` does not do: what is compiled by Cython takes it for the module.
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
