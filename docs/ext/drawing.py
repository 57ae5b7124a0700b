"""The little SVG that the pictures are made of: plain, drawn for white paper, with words for those who cannot see."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

BLUE, GREY, LIGHT, ORANGE, BLACK = "#1f6fb2", "#b8c0c8", "#eef1f4", "#d9730d", "#22272e"
MONO = "font-family='ui-monospace, SFMono-Regular, Menlo, Consolas, monospace'"
SANS = "font-family='system-ui, Segoe UI, Helvetica, Arial, sans-serif'"
WIDTH, MARGIN = 860, 20


def svg(title: str, description: str, height: int, parts: Iterable[str]) -> str:
    """A picture with its title above it, and a description that is read aloud."""
    size = f"viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}'"
    tip = "viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' markerHeight='7' orient='auto-start-reverse'"
    lines = (
        f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' aria-labelledby='t d'>",
        f"<title id='t'>{escape(title)}</title>",
        f"<desc id='d'>{escape(description)}</desc>",
        f"<defs><marker id='tip' {tip}><path d='M0 0 L10 5 L0 10 z' fill='{BLACK}'/></marker></defs>",
        f"<rect width='{WIDTH}' height='{height}' fill='#fff'/>",
        text(MARGIN, 22, title, size=14, bold=True),
        *parts,
    )
    return "\n".join([*lines, "</svg>\n"])


def text(
    x: float, y: float, words: str, *, size: float = 13, mono: bool = False, bold: bool = False,
    anchor: str = "start", colour: str = BLACK,
) -> str:  # fmt: skip
    """A line of words; ``anchor`` is start, middle or end."""
    weight = " font-weight='600'" if bold else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {MONO if mono else SANS} font-size='{size}' fill='{colour}'"
        f" text-anchor='{anchor}'{weight}>{escape(words)}</text>"
    )


def rect(
    x: float, y: float, width: float, height: float, *, fill: str = LIGHT, edge: float = 0.5, round_: int = 0
) -> str:
    """A rectangle."""
    return (
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' rx='{round_}' fill='{fill}'"
        f" stroke='{GREY}' stroke-width='{edge}'/>"
    )


def box(x: float, y: float, width: float, height: float, *lines: str, fill: str = LIGHT) -> list[str]:
    """A box with lines of words in its middle, the first of them bold."""
    top = y + height / 2 - 9 * (len(lines) - 1) + 5
    words = [
        text(x + width / 2, top + 18 * n, line, size=13 if n == 0 else 12, bold=n == 0, anchor="middle")
        for n, line in enumerate(lines)
    ]
    return [rect(x, y, width, height, fill=fill, edge=1.2, round_=6), *words]


def arrow(x1: float, y1: float, x2: float, y2: float, *, both: bool = False) -> str:
    """A line with a tip at its end, or at both."""
    start = " marker-start='url(#tip)'" if both else ""
    return (
        f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{BLACK}' stroke-width='1.3'"
        f" marker-end='url(#tip)'{start}/>"
    )
