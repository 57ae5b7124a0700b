"""Runs the notebooks of docs/notebooks against a simulator, and keeps what they show: python docs/make_notebooks.py [NAME...]"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import nbformat

from tests.docs.notebooks import bench, notebooks


def main(names: list[str]) -> None:
    """Run those that are named, or all."""
    with tempfile.TemporaryDirectory() as folder, bench(Path(folder)) as ready:
        for path in notebooks():
            if not names or path.stem in names:
                nbformat.write(ready.run(path), path)
                print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
