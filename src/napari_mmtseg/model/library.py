"""A folder of models under names, each with its date and a picture of what it made."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mmtseg.model import Model, load, model_file
from napari_mmtseg.system.whole_files import write_whole

ENDING = ".safetensors"
_RECENT = "recent"
_MOST_RECENT = 100
_LARGEST_NOTE = 2**20
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SLAB = 2**20


@dataclass(frozen=True)
class Entry:
    """A model of a library, which is read when it is wanted.

    Attributes
    ----------
    name : str
    path : Path
        Of the model's file.
    about : mapping
        What was noted of it: "made" (ISO date), "settings", "image", "labels", as far as known.
    """

    name: str
    path: Path
    about: Mapping[str, Any]

    @property
    def made(self) -> str:
        """When it was kept, as an ISO date."""
        known = self.about.get("made")
        if isinstance(known, str):
            return known
        with contextlib.suppress(OSError):
            changed = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
            return changed.isoformat(timespec="seconds")
        return ""

    @property
    def picture(self) -> Path | None:
        """The file of its picture, if there is one."""
        path = self.path.with_suffix(".png")
        return path if path.is_file() else None

    def load(self) -> Model:
        """Read the model; see `model.load`."""
        return load(self.path)


class Library:
    """Models kept in a folder, which is made when the first is kept.

    Parameters
    ----------
    folder : path-like
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def entries(self) -> list[Entry]:
        """List the models, the newest first; files that are no models are found when loaded."""
        if not self.folder.is_dir():
            return []
        found = [
            Entry(path.stem, path, _note(path.with_suffix(".json")))
            for path in self.folder.glob(f"*{ENDING}")
            if path.is_file()
        ]
        return sorted(found, key=lambda one: (one.made, one.name), reverse=True)

    def keep(
        self,
        name: str,
        model: Model,
        about: Mapping[str, Any] | None = None,
        picture: bytes | None = None,
    ) -> Entry:
        """Keep a model under a name that is not taken.

        Parameters
        ----------
        name : str
        model : Model
        about : mapping, optional
            JSON to be noted beside it.
        picture : bytes, optional
            PNG.

        Raises
        ------
        ValueError
            If the name cannot be that of a file.
        FileExistsError
            If there is such a model already; it is unchanged.
        OSError
            If nothing can be written there.
        """
        path = self.path_of(name)
        if path.exists():
            raise FileExistsError(f"There is a model {path.stem} already: choose another name")
        self.folder.mkdir(parents=True, exist_ok=True)
        noted = {"made": _now(), "settings": model.method.to_dict(), **(about or {})}
        # The model's file makes the entry, so it comes last: without it the others are nobody's.
        if picture is not None:
            write_whole(path.with_suffix(".png"), [picture], overwrite=True)
        write_whole(path.with_suffix(".json"), [_json(noted)], overwrite=True)
        model.save(path)
        return Entry(path.stem, path, noted)

    def path_of(self, name: str) -> Path:
        """Return the file of a model of that name.

        Raises
        ------
        ValueError
            If the name cannot be that of a file.
        """
        plain = " ".join(name.split())
        wrong = re.search(r'[<>:"/\\|?*\x00-\x1f]', plain)
        if not 0 < len(plain) <= 80 or wrong or plain.startswith(".") or plain.endswith("."):
            raise ValueError(
                f"A model's name must have 1 to 80 letters and none of < > : \" / \\ | ? *, and no "
                f"dot at its ends, got {name!r}"
            )
        return self.folder / f"{plain}{ENDING}"

    def remove(self, entry: Entry) -> None:
        """Delete a model with its note and picture.

        Raises
        ------
        OSError
            If it cannot be deleted.
        """
        for ending in (ENDING, ".json", ".png"):
            self.path_of(entry.name).with_suffix(ending).unlink(missing_ok=True)

    def remember(self, digest: str, model: Model | None, about: Mapping[str, Any]) -> None:
        """Note which model made the labels of a digest; the oldest notes are forgotten.

        Parameters
        ----------
        digest : str
            From `digest_of`.
        model : Model, optional
        about : mapping
            JSON, such as a result's record.

        Raises
        ------
        OSError
            If nothing can be written there.
        """
        folder = self.folder / _RECENT
        folder.mkdir(parents=True, exist_ok=True)
        noted = {"made": _now(), **about, "model": None}
        if model is not None:
            fields = {one.name: getattr(model, one.name) for one in dataclasses.fields(model)}
            blocks = model_file.packed(fields, checked=True)  # it comes from a run
            noted["model"] = hashlib.sha256(b"".join(blocks)).hexdigest()
            path = folder / f"{noted['model']}{ENDING}"
            if not path.exists():
                write_whole(path, blocks, overwrite=True)  # of the same content, whoever wrote it
        write_whole(folder / f"{digest}.json", [_json(noted)], overwrite=True)
        self._forget(folder)

    def recall(self, digest: str) -> tuple[Mapping[str, Any], Model | None] | None:
        """Return what was noted of the labels of a digest, and the model that made them.

        Returns
        -------
        about : mapping
        model : Model or None
            None if there was none, or if its file is gone or damaged.
        """
        note = _note(self.folder / _RECENT / f"{digest}.json")
        if not note:
            return None
        name, model = note.get("model"), None
        if isinstance(name, str) and _DIGEST.fullmatch(name):
            with contextlib.suppress(OSError, ValueError, MemoryError):
                model = load(self.folder / _RECENT / f"{name}{ENDING}")
        return note, model

    def knows_any(self) -> bool:
        """Tell whether anything was remembered."""
        folder = self.folder / _RECENT
        return folder.is_dir() and any(folder.glob("*.json"))

    def _forget(self, folder: Path) -> None:
        """Delete the oldest notes, and the models that no note names."""
        ours = [one for one in folder.glob("*.json") if _DIGEST.fullmatch(one.stem)]
        with contextlib.suppress(OSError):
            ours.sort(key=lambda one: one.stat().st_mtime, reverse=True)
            for one in ours[_MOST_RECENT:]:
                one.unlink(missing_ok=True)
            named = {str(_note(one).get("model")) for one in ours[:_MOST_RECENT]}
            for one in folder.glob(f"*{ENDING}"):
                if _DIGEST.fullmatch(one.stem) and one.stem not in named:
                    one.unlink(missing_ok=True)


def digest_of(labels: NDArray[np.integer[Any]]) -> str:
    """Return a digest of labels that stays the same however they are stored.

    Axes of one pixel and the type of the numbers do not count, since a TIFF file may change both.

    Parameters
    ----------
    labels : integer array
    """
    shape = [int(n) for n in labels.shape if n != 1]
    found = hashlib.sha256(json.dumps(shape).encode())
    flat = labels.reshape(-1)
    for start in range(0, len(flat), _SLAB):
        found.update(flat[start : start + _SLAB].astype("<i8").tobytes())
    return found.hexdigest()


def _note(path: Path) -> dict[str, Any]:
    """Read what was noted in a file, nothing if it is not sound."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= _LARGEST_NOTE:
            note = json.loads(path.read_text("utf-8"))
            return note if isinstance(note, dict) else {}
    return {}


def _json(note: Mapping[str, Any]) -> bytes:
    return json.dumps(note, indent=1, ensure_ascii=False).encode("utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
