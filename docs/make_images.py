"""Draws the pictures of docs/cookbook.md by running it against a simulator: python docs/make_images.py

What its statements answer goes into the page, below each.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.docs.cookbook import IMAGES, PAGE, cook, with_answers


def main() -> None:
    """Cook the page, and keep what comes of it."""
    with tempfile.TemporaryDirectory() as folder:
        cooked = cook(PAGE, Path(folder))
    IMAGES.mkdir(exist_ok=True)
    for name, data in cooked.images.items():
        (IMAGES / name).write_bytes(data)
        print(f"docs/images/{name}: {len(data):,} bytes")
    PAGE.write_text(with_answers(PAGE.read_text("utf-8"), cooked.answers), "utf-8")


if __name__ == "__main__":
    main()
