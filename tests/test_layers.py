"""Imports point down: a floor knows the floors below it, and neither those above nor its neighbours."""

import ast
from collections.abc import Iterator
from pathlib import Path

import mirror

PACKAGE = Path(mirror.__file__).parent
FLOORS = {
    "mirror": 0,  # the package itself: its version, and the ways in for scripts
    "client": 0,
    "remote": 0,
    "redaction": 0,
    "drms": 1,
    "access": 1,
    "wire": 2,
    "listening": 2,
    "config_values": 2,
    "config_sections": 2.5,
    "config": 3,
    "storage": 3,
    "upstream": 3,
    "engine": 4,
    "services": 5,
    "server": 6,
    "logs": 4,
    "notify": 4,
    "composition": 6,
    "facing": 7,
    "daemon": 8,
    "cli": 9,
    "__main__": 10,
}
#: A JSOC in a box may share how things are written with the mirror, but nothing of how they are found.
SIMULATOR = {"drms", "wire", "listening"}
#: Each with the only part of the mirror that it may know: the entry for scripts must stay light.
ALONE = {"mirror": {"client", "remote"}, "client": set(), "remote": {"client", "drms"}}


def part_of(module: str) -> str:
    """The part that a module belongs to: "drms" for mirror.drms.times."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "mirror"


def imports() -> Iterator[tuple[str, str, str]]:
    """Every import of one part by another: file and line, importing part, imported part."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        name = ".".join(["mirror", *relative.with_suffix("").parts]).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text())):
            for target in targets(node):
                if part_of(target) != part_of(name):
                    yield f"{relative}:{node.lineno}", part_of(name), part_of(target)


def targets(node: ast.AST) -> list[str]:
    """The modules of ours that a statement imports; ``from mirror import config`` imports mirror.config."""
    if isinstance(node, ast.Import):
        return [a.name for a in node.names if a.name.split(".")[0] == "mirror"]
    if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "mirror":
        return []
    if node.module != "mirror":
        return [node.module]
    return [f"mirror.{a.name}" if (PACKAGE / a.name).exists() or (PACKAGE / f"{a.name}.py").exists() else "mirror"
            for a in node.names]  # fmt: skip


def allowed(importer: str, imported: str) -> bool:
    if importer == "simulator":
        return imported in SIMULATOR
    if importer in ALONE:
        return imported in ALONE[importer]
    if imported == "simulator":
        return importer in {"cli", "__main__"}
    # The configuration is on a floor with its readers below: storage and upstream get their values from
    # whoever builds them, floors above may take its types.
    return FLOORS[imported] < FLOORS[importer]


def test_imports_point_down():
    assert [f"{where}: {a} imports {b}" for where, a, b in imports() if not allowed(a, b)] == []


def test_every_part_has_its_floor():
    parts = {part_of(f"mirror.{path.stem}") for path in PACKAGE.iterdir() if path.name[0] not in "._" and path.suffix in ("", ".py")}
    parts -= {path.name for path in PACKAGE.iterdir() if path.is_dir() and not list(path.glob("*.py"))}
    assert parts <= FLOORS.keys() | {"simulator"}


def test_imports_are_absolute():
    relative = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
