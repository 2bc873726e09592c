"""Keep results in a file that grows line by line, so that an interrupted run can go on."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Job:
    """What a result is a result of; two results of one job never both count."""

    dataset: str
    image: str
    variant: str
    seed: int

    @property
    def digest(self) -> str:
        """A short name for files."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Result:
    """What was measured; `code` tells states of the package apart, `effort` ways of running it."""

    job: Job
    seconds: float
    n_labels: int
    scores: dict[str, float]
    code: str
    effort: str


class Store:
    """The results in a folder: `results.jsonl`, one a line, and the label images in `labels/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "labels").mkdir(parents=True, exist_ok=True)
        self._file = folder / "results.jsonl"

    def read(self) -> dict[Job, Result]:
        """Return the results, one a job; a line that a crash cut short is left out."""
        found: dict[Job, Result] = {}
        if not self._file.exists():
            return found
        for line in self._file.read_text("utf-8").splitlines():
            try:
                data = json.loads(line)
                result = Result(**{**data, "job": Job(**data["job"])})
            except (ValueError, TypeError, KeyError):
                continue
            found[result.job] = result
        return found

    def append(self, result: Result) -> None:
        """Add a result; it is on the disk when this returns."""
        with self._file.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # an earlier run died in the middle of a line
                    file.write(b"\n")
            file.write(json.dumps(asdict(result)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def drop(self, methods: set[str]) -> int:
        """Forget the results of the methods named, and return how many there were."""
        results = self.read().values()
        kept = [r for r in results if json.loads(r.job.variant)["method"] not in methods]
        fresh = self._file.with_suffix(".new")
        fresh.write_text("".join(json.dumps(asdict(r)) + "\n" for r in kept), "utf-8")
        fresh.replace(self._file)
        return len(results) - len(kept)

    def save_labels(self, job: Job, labels: NDArray[Any]) -> None:
        """Keep a label image; call this before its result is appended."""
        np.savez_compressed(self.folder / "labels" / f"{job.digest}.npz", labels=labels)

    def labels(self, job: Job) -> NDArray[Any]:
        """Return the label image of a result."""
        with np.load(self.folder / "labels" / f"{job.digest}.npz") as file:
            return np.asarray(file["labels"])
