"""Names and sentences are of the field and of HTTP: words that the code once had and nobody else uses stay out."""

from __future__ import annotations

import re
from pathlib import Path

MIRROR = Path(__file__).parents[1] / "mirror"
WORDS = re.compile(
    r"\b(anew|of late|wish|wishes|errand|farewell|goodbye|not to be had|naps|studio)\b|[a-z]Wish\b", re.IGNORECASE
)


def test_the_code_has_no_private_words():
    found = [
        f"{path.relative_to(MIRROR)}:{number}: {line.strip()}"
        for path in sorted(MIRROR.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if WORDS.search(line)
    ]
    assert not found, "\n".join(found)
