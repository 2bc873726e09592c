"""Run methods on images, in processes of their own, going on where an earlier run ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.figures.provenance import code_state
from benchmarks.quality import contenders, scoring
from benchmarks.quality.contenders import Contender
from benchmarks.quality.datasets import Dataset, Picture
from benchmarks.quality.store import Job, Result, Store

RunOne = Callable[[Job, Any, Path, str], Result]
"""Runs a job on its picture; told are the folder for labels and how hard the machine works."""

_warm: set[str] = set()


def jobs(dataset: Dataset, rows: Sequence[Contender], seeds: list[int]) -> dict[Job, Picture]:
    """List what is to be run, image by image; settings that two rows share are run once."""
    return {
        Job(dataset.name, picture.name, variant, seed): picture
        for picture in dataset.pictures
        for row in rows
        for variant in row.variants
        for seed in row.seeds(seeds)
    }


def told(work: Callable[[], int]) -> int:
    """Do a command's work, and say in a line what it cannot do; return its exit status."""
    try:
        return work()
    except (ValueError, TypeError, MemoryError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. What is done is kept: the same command goes on from here.")
        return 130


def run(
    wanted: dict[Job, Picture],
    store: Store,
    *,
    workers: int = 1,
    threads: int = 1,
    one: RunOne | None = None,
) -> tuple[dict[Job, Result], dict[Job, str]]:
    """Run the jobs that have no result yet.

    Parameters
    ----------
    wanted : dict of Job to Picture
        What to run, as `jobs` gives it.
    store : Store
        Where results are read and appended.
    workers : int
        Processes at a time; 0 runs everything in this one.
    threads : int
        Threads of each.
    one : callable, optional
        Runs a job in the place of `run_one`; a function that other processes can import.

    Returns
    -------
    results : dict of Job to Result
        Of the jobs wanted, those that ran now or earlier.
    failed : dict of Job to str
        What went wrong with the others; the next run tries them again.
    """
    have = store.read()
    missing = {job: picture for job, picture in wanted.items() if job not in have}
    failed: dict[Job, str] = {}
    with tqdm(total=len(wanted), initial=len(wanted) - len(missing)) as bar:
        for job, outcome in _outcomes(missing, store.folder, workers, threads, one or run_one):
            if isinstance(outcome, Result):
                store.append(outcome)
                have[job] = outcome
            else:
                failed[job] = outcome
                tqdm.write(f"{job.image}, {job.variant}: {outcome}", file=sys.stderr)
            bar.update()
    return {job: have[job] for job in wanted if job in have}, failed


def run_one(job: Job, picture: Picture, folder: Path, effort: str) -> Result:
    """Segment and score one image, and keep its labels."""
    image, axes, truths = picture.read()
    if job.variant not in _warm:
        contenders.warm_up(job.variant)
        _warm.add(job.variant)
    start = perf_counter()
    labels = contenders.labels_of(job.variant, image, axes, job.seed)
    seconds = perf_counter() - start
    scores = scoring.score(labels, truths)
    Store(folder).save_labels(job, labels)
    return Result(job, round(seconds, 4), len(np.unique(labels)), scores, code_state(), effort)


def _outcomes(
    missing: dict[Job, Picture], folder: Path, workers: int, threads: int, one: RunOne
) -> Iterator[tuple[Job, Result | str]]:
    if workers == 0:
        for job, picture in missing.items():
            try:
                yield job, one(job, picture, folder, "in one process with all else")
            except (ValueError, TypeError, OSError, RuntimeError, MemoryError) as error:
                yield job, _reason(error)
        return
    effort = (
        f"{_count(workers, 'process', 'processes')}, {_count(threads, 'thread', 'threads')} each"
    )
    with _threads(threads), _pool(workers) as pool:
        futures: dict[Future[Result], Job] = {
            pool.submit(one, job, picture, folder, effort): job for job, picture in missing.items()
        }
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                raise MemoryError(
                    "A process of the benchmark was ended from outside, most likely for want of "
                    "memory; results so far are kept: run again with fewer --workers"
                ) from None
            except Exception as error:
                yield futures[future], _reason(error)


def _count(number: int, noun: str, plural: str) -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:  # without waiting for what has not begun, so that Ctrl-C ends soon
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Set the number of threads for the processes started meanwhile."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
