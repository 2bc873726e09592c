"""Find the images to do, and name the result of each."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from napari_mmtseg.images.image_files import ZARR, is_image, ome_set
from napari_mmtseg.images.stores import is_store

SUFFIX = "_labels"


class Source(NamedTuple):
    """An image to do."""

    path: Path
    name: str
    """What to call it: its path below the folder that was named."""
    stem: Path
    """Its results are called so, each with an ending of its own."""
    problem: str = ""
    """Why it cannot be done, or nothing."""

    @property
    def record(self) -> Path:
        """Where is written down what made the result."""
        return self.stem.with_name(f"{self.stem.name}{SUFFIX}.json")

    @property
    def table(self) -> Path:
        """Where the measurements of its objects go."""
        return self.stem.with_name(f"{self.stem.name}_objects.csv")

    def result(self, *, store: bool) -> Path:
        """Where its labels go."""
        return self.stem.with_name(f"{self.stem.name}{SUFFIX}{ZARR if store else '.tif'}")


def find(patterns: Iterable[str | os.PathLike[str]], output: Path | None) -> list[Source]:
    """List the images that are meant, each once, by name.

    Parameters
    ----------
    patterns : iterable of path-like
        Files, zarr stores, folders (the images that lie in them), or patterns such as
        "data/**/*.tif". Earlier results are left out.
    output : Path or None
        The folder of the results, below which they lie as the images do below the folder that was
        named; None puts each beside its image.

    Raises
    ------
    FileNotFoundError
        If one of them names nothing.
    """
    found: dict[Path, Source] = {}
    for pattern in [str(one) for one in patterns]:
        for path, root in _matching(pattern):
            path = Path(os.path.abspath(path))
            below = path.relative_to(os.path.abspath(root))
            folder = path.parent if output is None else Path(os.path.abspath(output)) / below.parent
            stem = path.name.removesuffix(path.suffix)
            stem = stem[:-4] if stem.lower().endswith(".ome") else stem
            found.setdefault(path, Source(path, below.as_posix(), folder / stem))
    ordered = sorted(found.values(), key=lambda one: (_in_number_order(one.name), one.path))
    return _without_clashes(_without_partners(ordered))


def _in_number_order(name: str) -> tuple[tuple[str, int, str], ...]:
    """Return what sorts t2 before t10."""
    parts = re.findall(r"(\d+)|(\D+)", name)
    return tuple(
        ("", int(digits), "") if digits else (text.casefold(), 0, text) for digits, text in parts
    )


def _without_partners(sources: list[Source]) -> list[Source]:
    """Keep one file of each OME-TIFF that lies in several: any of them is the whole image."""
    kept, done = [], set()
    for one in sources:
        if one.path in done:
            continue
        kept.append(one)
        if one.path.name.lower().endswith((".ome.tif", ".ome.tiff")):
            done |= {one.path.parent / name for name in ome_set(one.path)}
    return kept


def root_of(patterns: Sequence[str | os.PathLike[str]]) -> Path:
    """Return the folder that the first of them begins with."""
    return Path(os.path.abspath(_root(os.fspath(patterns[0]))))


def _root(pattern: str) -> Path:
    path = Path(pattern)
    if path.is_dir() and not _is_image(path):
        return path
    if not path.exists() and glob.has_magic(pattern):
        return _begun(path)
    return path.parent


def _begun(path: Path) -> Path:
    """Return the folder that a pattern begins with: as far as there is one of that very name."""
    root = Path(path.anchor)
    for part in path.parts[len(root.parts) : -1]:
        if glob.has_magic(part) and not (root / part).exists():
            break
        root = root / part
    return root


def _is_image(path: Path) -> bool:
    return path.suffix.lower() == ZARR or is_store(path)


def _matching(pattern: str) -> list[tuple[Path, Path]]:
    """List what a pattern names, each with the folder that the pattern begins with."""
    path, root = Path(pattern), _root(pattern)
    if path == root:
        named = [one for one in path.iterdir() if is_image(one)]
    elif path.exists():
        return [(path, root)]
    elif glob.has_magic(pattern):
        root = _begun(path)  # which may have brackets in its name
        rest = str(path.relative_to(root))
        named = [root / one for one in glob.glob(rest, root_dir=root, recursive=True)]
    else:
        raise FileNotFoundError(f"There is no {pattern}: check the name")
    images = [one for one in named if _may_be_image(one, root)]
    if not images:
        raise FileNotFoundError(
            f"{pattern} holds no image: name a folder with TIFF, PNG or zarr images in it, or a "
            "pattern in quotes such as 'data/**/*.tif'"
        )
    return [(one, root) for one in images]


def _may_be_image(path: Path, root: Path) -> bool:
    """Tell whether something found is an image, and neither part of one nor a result."""
    inside = path.relative_to(root).parts[:-1]
    if path.name.startswith(".") or any(part.lower().endswith(ZARR) for part in inside):
        return False
    if path.is_dir() and path.suffix.lower() != ZARR:
        return False
    stem = path.name.removesuffix(path.suffix)
    return not (stem.endswith(SUFFIX) and path.with_name(f"{stem}.json").exists())


def _without_clashes(sources: list[Source]) -> list[Source]:
    """Mark those whose results would have one name, as some disks tell no a from A."""
    named: dict[str, list[Source]] = {}
    for one in sources:
        named.setdefault(str(one.stem).casefold(), []).append(one)
    called = Counter(one.name for one in sources)
    marked = []
    for one in sources:
        if called[one.name] > 1:
            one = one._replace(name=str(one.path))
        alike = named[str(one.stem).casefold()]
        other = next((other for other in alike if other.path != one.path), None)
        if other is not None:
            one = one._replace(
                problem=f"{one.path} and {other.path} would have results of one name, "
                f"{one.stem.name}{SUFFIX}: rename one, or give each folder its own results"
            )
        marked.append(one)
    return marked
