"""Rooms import from the rooms below them, in the order that docs/architecture.md tells."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "napari_mmtseg"
SOURCE = ROOT / "src" / PACKAGE
ROOMS = {PACKAGE: (22, 110), f"{PACKAGE}._napari": (14, 45)}
"""Of each floor plan how many rooms, and how many imports from room to room, are few enough."""


@cache
def modules():
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = [PACKAGE, *path.relative_to(SOURCE).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports():
    """What each module imports from the package, within functions and for types alone too."""
    known = modules()
    found = {}
    for name, path in known.items():
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name] |= {one.name for one in node.names if one.name in known}
            elif isinstance(node, ast.ImportFrom) and node.module in known:
                inner = {f"{node.module}.{one.name}" for one in node.names}
                found[name] |= inner & set(known)
                if inner - set(known):
                    found[name].add(node.module)
    return found


def room_of(module, house):
    """The room of a house that a module is in, None for the house's own face and what is apart."""
    rest = module.removeprefix(f"{house}.")
    return None if rest == module or rest.startswith("_version") else rest.partition(".")[0]


def arrows(house):
    """Which room imports from which, and by which module."""
    found = {}
    for module, others in imports().items():
        for other in others:
            one, two = room_of(module, house), room_of(other, house)
            if one and two and one != two:
                found.setdefault((one, two), set()).add(f"{module} -> {other}")
    return found


def declared(house):
    """The rooms in the order of the page, the highest first."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    title = f"| room in `{house.rpartition('.')[2]}` |"
    table = page[page.index(title) :].partition("\n\n")[0]
    return re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)


@pytest.mark.parametrize("house", ROOMS)
def test_every_room_is_told_on_the_page(house):
    rooms = {room_of(module, house) for module in modules()} - {None}
    assert sorted(declared(house)) == sorted(rooms)


@pytest.mark.parametrize("house", ROOMS)
def test_no_import_runs_back_up(house):
    order = declared(house)
    wrong = {
        arrow: sorted(by)
        for arrow, by in arrows(house).items()
        if order.index(arrow[0]) >= order.index(arrow[1])
    }
    assert not wrong, "a room may import from those below it alone"


@pytest.mark.parametrize("house", ROOMS)
def test_rooms_and_imports_between_them_are_few(house):
    most_rooms, most_arrows = ROOMS[house]
    assert len(declared(house)) <= most_rooms
    assert len(arrows(house)) <= most_arrows


def test_no_files_import_each_other_in_a_circle():
    graph = {name: sorted(others) for name, others in imports().items()}
    done, path = set(), []

    def walk(module):
        if module in path:
            pytest.fail("a circle: " + " -> ".join([*path[path.index(module) :], module]))
        if module not in done:
            path.append(module)
            for other in graph[module]:
                walk(other)
            path.pop()
            done.add(module)

    for module in graph:
        walk(module)


@pytest.mark.parametrize(
    ("room", "apart"),
    [("engine", ("qtpy", "napari", "magicgui")), ("labels", ("torch", "qtpy", "napari"))],
)
def test_a_room_is_free_of_what_it_must_not_know(room, apart):
    for name, path in modules().items():
        if room_of(name, PACKAGE) == room:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {one.partition(".")[0] for one in names} & set(apart), name
