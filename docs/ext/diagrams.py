"""Diagrams of the mirror: where it stands, its floors, and the way of a search and of a file through it."""

from __future__ import annotations

from docs.ext.drawing import BLUE, LIGHT, MARGIN, WIDTH, arrow, box, svg, text

#: The floors, from the top: what is on each, and what it is for. Imports point down only.
FLOORS = (
    ("cli, daemon, app", "commands; everything built once, by plain constructors"),
    ("server", "HTTP: JSOC's paths, the proxy, the API, pages, access"),
    ("services", "search, exports, fills, subscriptions, SQL, maintenance, transfer"),
    ("readthrough", "the two read-throughs: records and files; what to fetch, once for all"),
    ("storage · upstream", "DuckDB, files by content  ·  the one polite client of JSOC"),
    ("coverage · config", "what is cached and what must be asked: pure  ·  config.toml"),
    ("wire, fits", "the protocol of JSOC's programs; FITS headers and files: pure"),
    ("drms", "record sets, slots, times, conditions: pure"),
)


def diagrams() -> dict[str, str]:
    """The text of each diagram, by its name."""
    return {"overview": overview(), "floors": _floors(), "search": _search(), "file": _file()}


def overview() -> str:
    """Clients, the mirror, its store, JSOC."""
    parts = []
    for n, (name, how) in enumerate(
        (("drms", "Python"), ("sunpy", "Fido"), ("IDL", "ssw_jsoc"), ("curl, R", "anything"))
    ):
        parts += [*box(MARGIN, 44 + n * 62, 130, 50, name, how), arrow(150, 69 + n * 62, 268, 150, both=True)]
    parts += box(270, 44, 300, 236, "", fill=LIGHT)[:1]
    parts += [text(420, 72, "mirror", size=17, bold=True, anchor="middle")]
    parts += box(290, 88, 260, 54, "held and checked?", "answered here, JSOC is asked nothing", fill="#fff")
    parts += box(290, 150, 260, 54, "partly held?", "only what is missing is asked, once", fill="#fff")
    parts += box(290, 212, 260, 54, "JSOC is down?", "what is held goes on working", fill="#fff")
    parts += box(650, 60, 190, 66, "JSOC", "one polite client", "instead of everybody's scripts", fill="#fff")
    parts += [arrow(570, 105, 648, 93, both=True)]
    parts += box(
        650,
        180,
        190,
        82,
        "its store",
        "every keyword, in DuckDB",
        "files, by their content",
        "one SQL query away",
        fill="#fff",
    )
    parts += [arrow(570, 215, 648, 221, both=True)]
    words = "drms, sunpy, IDL, curl and R ask the mirror, which answers from its store and asks JSOC for what is missing"
    return svg("Your scripts stay as they are", words, 300, parts)


def _floors() -> str:
    parts = []
    for n, (names, what) in enumerate(FLOORS):
        parts += box(MARGIN, 40 + n * 58, WIDTH - 2 * MARGIN - 60, 48, names, what)
    bottom = 40 + len(FLOORS) * 58 - 10
    parts += [
        arrow(WIDTH - 50, 44, WIDTH - 50, bottom),
        text(WIDTH - 60, bottom + 18, "imports", size=12, anchor="middle"),
    ]
    return svg(
        "Floors: each knows those below it, none above",
        "; ".join(f"{a}: {b}" for a, b in FLOORS),
        bottom + 30,
        parts,
    )


def _search() -> str:
    steps = (("request", "server/cgi"), ("record set", "drms/parser"), ("plan", "drms/plan: pure"))
    parts = []
    for n, (name, where) in enumerate(steps):
        parts += box(MARGIN + n * 160, 120, 130, 56, name, where)
        if n:
            parts.append(arrow(MARGIN + n * 160 - 30, 148, MARGIN + n * 160 - 2, 148))
    ways = (
        ("Local", "all held, and checked recently"),
        ("Refresh", "held, but a check is due"),
        ("Fill", "gaps: fetched in chunks, once"),
        ("Forward", "only JSOC can tell: asked as it is"),
    )
    for n, (name, what) in enumerate(ways):
        parts += [*box(510, 44 + n * 56, 210, 46, name, what, fill="#fff"), arrow(470, 148, 508, 67 + n * 56)]
        parts.append(arrow(720, 67 + n * 56, 748, 148))
    parts += box(750, 120, 90, 56, "answer", "X-Mirror")
    return svg("The way of a search", "; ".join(f"{a}: {b}" for a, b in ways), 280, parts)


def _file() -> str:
    steps = (
        ("wanted", "a path, or a record", "and its segment"),
        ("held?", "sent from the disk", "by the kernel"),
        ("one download", "whoever else wants it", "waits for the same"),
        ("checked", "length, FITS sums,", "hash while it comes"),
        ("kept", "renamed into place", "by its sha256"),
    )
    width = (WIDTH - 2 * MARGIN - 4 * 26) / 5
    parts = []
    for n, lines in enumerate(steps):
        x = MARGIN + n * (width + 26)
        parts += box(x, 46, width, 76, *lines, fill=LIGHT if n != 1 else "#fff")
        if n:
            parts.append(arrow(x - 26, 84, x - 2, 84))
    parts += [text(WIDTH / 2, 146, "A file has its name only once it is whole: a kill at any moment loses a part of a download, no more.",
                   size=12, anchor="middle", colour=BLUE)]  # fmt: skip
    return svg("The way of a file", "; ".join(" ".join(s) for s in steps), 160, parts)
