"""Write down beside each result what made it, and tell later whether that still holds."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from napari_mmtseg.folders.image_list import Source
from napari_mmtseg.system.whole_files import write_whole

_FORMAT = "napari-mmtseg record 1"
_BLOCK = 2**20


class Standing(NamedTuple):
    """What is to be done with an image."""

    what: Literal["todo", "replace", "kept", "refused"]
    why: str = ""
    """Of what is refused, in one sentence."""
    record: dict[str, Any] | None = None
    """Of what is kept."""


def standing(
    source: Source, result: Path, made_with: Mapping[str, Any], *, overwrite: bool
) -> Standing:
    """Tell whether an image is to be done.

    A result is kept while its image and the settings are the same. It is made anew, in its place,
    when the image has changed and nobody has edited the result. Whatever else is there stays,
    unless `overwrite` allows to replace it.

    Parameters
    ----------
    source : Source
    result : Path
        Where its labels go.
    made_with : mapping
        The settings; JSON.
    overwrite : bool
    """
    record = read(source.record)
    if record is None and source.record.exists() and not overwrite:
        return _refused(source.record, "exists and is no record of a result")
    if not result.exists():
        return Standing("todo")
    again = Standing("replace")
    if record is None:
        return again if overwrite else _refused(result, "exists and is no result of a batch")
    if record["source"] != _relative(source.path, source.record):
        why = f"is the result of {record['source']}"
        return again if overwrite else _refused(result, why)
    now = digest(result)
    edited = now != record["result_sha256"]
    if edited and now == record.get("replaces"):
        return again  # killed before the new one took its place
    differs = changes(record["made_with"], made_with)
    if differs and not overwrite:
        return _refused(result, f"was made with other settings ({differs})")
    if differs:
        return again
    if _same_source(record, source.path):
        return Standing("kept", record=record)
    if edited and not overwrite:
        why = f"has been edited since it was made, and {source.path.name} has changed"
        return _refused(result, why)
    return again


def write(source: Source, record: Mapping[str, Any]) -> None:
    """Write a record, before its result: without the result it says nothing."""
    about = {"format": _FORMAT, "source": _relative(source.path, source.record), **record}
    text = json.dumps(about, indent=1, ensure_ascii=False)
    write_whole(source.record, [text.encode()], overwrite=True)


def read(path: Path) -> dict[str, Any] | None:
    """Read a record; None if there is none, or something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    needed = {"source", "made_with", "result_sha256", "image", "row"}
    sound = isinstance(found, dict) and found.get("format") == _FORMAT and needed <= set(found)
    return found if sound else None


def state_of(path: Path) -> dict[str, Any]:
    """Return what changes when an image is written to: its size and time, and its digest.

    Of a store it is the digest of the names, sizes and times of its files: it may hold terabytes.
    """
    at = path.stat()
    if not path.is_dir():
        return {"bytes": at.st_size, "mtime_ns": at.st_mtime_ns, "sha256": digest(path)}
    listed = hashlib.sha256()
    total = 0
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            at = file.stat()
            total += at.st_size
            entry = (file.relative_to(path).as_posix(), at.st_size, at.st_mtime_ns)
            listed.update(repr(entry).encode())
    return {"bytes": total, "mtime_ns": 0, "sha256": listed.hexdigest()}


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, None of a folder."""
    if path.is_dir():
        return None
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    return total.hexdigest()


def digest_of(content: bytes | str) -> str:
    """Return the SHA-256 of some bytes, or of a text."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def _same_source(record: Mapping[str, Any], path: Path) -> bool:
    known = record["image"]
    if not path.is_dir():
        at = path.stat()
        if (known["bytes"], known["mtime_ns"]) == (at.st_size, at.st_mtime_ns):
            return True
        if known["bytes"] != at.st_size:
            return False
    return bool(known["sha256"] == state_of(path)["sha256"])


def _relative(path: Path, record: Path) -> str:
    """Return a path as seen from the record's folder, so that both may move together."""
    try:
        return Path(os.path.relpath(path, record.parent)).as_posix()
    except ValueError:  # another drive of Windows
        return path.as_posix()


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Say how settings differ, the first three of them."""
    old, new = _flat(before), _flat(after)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    said = [f"{key} {_short(old.get(key))}, now {_short(new.get(key))}" for key in keys[:3]]
    return "; ".join(said) + (" ..." if len(keys) > 3 else "")


def _short(value: Any) -> str:
    return str(value)[:12] if isinstance(value, str) and len(value) == 64 else str(value)


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    method = settings.get("method")
    return {**settings, **(method if isinstance(method, dict) else {"method": method})}


def _refused(path: Path, why: str) -> Standing:
    cure = "choose another folder for the results, or allow to overwrite (--overwrite)"
    return Standing("refused", f"{path} {why}: {cure}")
