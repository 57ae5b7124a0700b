"""Imports point down: a package knows those below it, and neither those above nor its neighbours on one line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import mirror

PACKAGE = Path(mirror.__file__).parent
#: From the top down; those of one line do not know each other. A package with entries of its own (``server.api``)
#: has its remaining modules under its own name.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("processes",),
    ("daemon",),
    ("app",),
    ("core",),
    ("server.app",),
    ("server.pages",),
    ("server.api",),
    ("server.access",),
    ("server.jsoc",),
    ("server",),
    ("services.datasets",),
    ("services.iceberg",),
    ("services.sql",),
    ("services.monitoring",),
    ("services.news",),
    ("services.cutouts", "services.films"),
    ("services.transfer", "services.adoption", "services.quicklook", "services.maintenance"),
    ("services.fills",),
    ("services.estimates",),
    ("services.subscriptions",),
    ("services.exports",),
    ("services.search", "services.access"),
    ("services",),
    ("cluster",),
    ("readthrough",),
    ("storage.lake",),
    ("storage.index", "upstream"),
    ("storage.files",),
    ("storage.database",),
    ("storage", "logs", "cluster.objects"),
    ("config",),
    ("api",),
    ("coverage",),
    ("wire",),
    ("fits",),
    ("drms",),
    ("listening", "bounded", "humanize", "concurrency", "systemd", "metrics"),
    ("errors",),
    ("redaction",),
)
RANK = {name: rank for rank, line in enumerate(reversed(LAYERS)) for name in line}
#: A JSOC in a box may share how things are written with the mirror, but nothing of how they are found.
SIMULATOR = {"drms", "wire", "errors", "listening"}
#: Each with the only part of the mirror that it may know: the entry for scripts must stay light.
ALONE = {"mirror": {"client"}, "client": {"api", "errors"}}
MOST_FILES = 20


def part_of(module: str) -> str:
    """The entry of LAYERS that a module belongs to: "drms" for mirror.drms.times."""
    names = module.split(".")[1:]
    two = ".".join(names[:2])
    return two if two in RANK else (names[0] if names else "mirror")


def module_of(path: Path) -> str:
    return ".".join(["mirror", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


@cache
def statements() -> dict[Path, tuple[ast.Import | ast.ImportFrom, ...]]:
    """The imports of each module, wherever in it they stand."""
    return {
        path: tuple(n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import | ast.ImportFrom))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports() -> Iterator[tuple[str, str, str]]:
    """Every import of one part by another: file and line, importing part, imported part."""
    for path, nodes in statements().items():
        importer = part_of(module_of(path))
        for node in nodes:
            for target in targets(node):
                if part_of(target) != importer:
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", importer, part_of(target)


def targets(node: ast.AST) -> list[str]:
    """The modules of ours that a statement imports; ``from mirror import config`` imports mirror.config."""
    if isinstance(node, ast.Import):
        return [a.name for a in node.names if a.name.split(".")[0] == "mirror"]
    if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "mirror":
        return []
    folder = PACKAGE.joinpath(*str(node.module).split(".")[1:])
    inner = [a.name for a in node.names if (folder / a.name).is_dir() or (folder / f"{a.name}.py").exists()]
    return [f"{node.module}.{name}" for name in inner] or [str(node.module)]


def allowed(importer: str, imported: str) -> bool:
    if importer == "simulator":
        return imported in SIMULATOR
    if importer in ALONE:
        return imported in ALONE[importer]
    if imported == "simulator":
        return importer in {"cli", "__main__"}
    if imported in ALONE:  # the version; and the command line is a client too
        return imported == "mirror" or importer == "cli"
    return RANK[imported] < RANK[importer]


def test_imports_point_down():
    assert [f"{where}: {a} imports {b}" for where, a, b in imports() if not allowed(a, b)] == []


def test_every_part_has_its_layer():
    parts = {part_of(module_of(path)) for path in PACKAGE.rglob("*.py")}
    assert parts - {"simulator"} - ALONE.keys() <= RANK.keys()


def test_no_two_modules_import_each_other():
    graph: dict[str, set[str]] = {}
    for path, nodes in statements().items():
        at_start = [n for n in nodes if n.col_offset == 0]
        graph[module_of(path)] = {t for n in at_start for t in targets(n)}
    circles = [(a, b) for a in graph for b in graph[a] if a < b and a in graph.get(b, ())]
    assert circles == []


def test_imports_are_absolute():
    relative = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path, nodes in statements().items()
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_no_folder_has_too_many_files():
    folders = {path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE / "cli"}  # there it is one or two a capability
    crowded = {str(f.relative_to(PACKAGE)): n for f in folders if (n := len(list(f.glob("[!_]*.py")))) > MOST_FILES}
    assert crowded == {}
