"""Where images are done: in this process, in several of this machine, or on a cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import TYPE_CHECKING, Any, Protocol

from threadpoolctl import threadpool_limits

from napari_mmtseg.engine.threads import use_threads
from napari_mmtseg.folders.image_task import Outcome, Task, do, failed
from napari_mmtseg.model import Model
from napari_mmtseg.prediction import dask_cluster

if TYPE_CHECKING:
    from distributed import Client

TICK_SECONDS = 0.3
"""So often a run gives word while nothing happens, so that it can be stopped."""

_WORTH_PROCESSES = 6

Doing = Generator[Outcome | None, bool | None, None]
"""Yields what becomes of images, and None now and then; sending True ends it with those begun."""


class Workers(Protocol):
    """Something that does images."""

    def run(self, tasks: Iterable[Task], model: Model | None) -> Doing: ...


class ThisProcess:
    """Do one image after the other in this process, with all its threads."""

    def run(self, tasks: Iterable[Task], model: Model | None) -> Doing:
        """Do the tasks in their order."""
        for task in tasks:
            if (yield Outcome(task.source.name, "working")) or (yield do(task, model)):
                return


class Processes:
    """Do images in processes of one thread each.

    Threads of one process would wait for each other where Python does the work, and an image that
    brings a process down, when memory runs out, takes none of the others with it.

    Parameters
    ----------
    count : int
        How many.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def run(self, tasks: Iterable[Task], model: Model | None) -> Doing:
        """Do the tasks; one whose process ends unexpectedly is tried once more, alone."""
        suspects: list[Task] = []
        left = list(tasks)
        while left:
            with self._pool(self._count, model) as pool:
                broken, left = yield from feed(pool, do_sent, left, self._count)
            suspects += broken
        for task in suspects:
            with self._pool(1, model) as pool:
                broken, _ = yield from feed(pool, do_sent, [task], 1)
            if broken:
                why = (
                    f"The process that worked on {task.source.path} ended unexpectedly, perhaps "
                    "because memory ran out: use fewer workers, or crop the image"
                )
                yield failed(task.source, MemoryError(why))

    def _pool(self, count: int, model: Model | None) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # forked threads of PyTorch hang
        return ProcessPoolExecutor(count, context, initializer=_begin, initargs=(model,))


class Cluster:
    """Do images on the workers of a dask cluster, which see the same disks.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def run(self, tasks: Iterable[Task], model: Model | None) -> Doing:
        """Do the tasks; those of a worker that is lost are done by another."""
        tasks = list(tasks)
        if not tasks:
            return
        client = self._client
        sent = dask_cluster.shared(client, model)
        at_once = dask_cluster.WAITING_A_THREAD * sum(client.nthreads().values())
        with dask_cluster.gone(client), client.get_executor(pure=False) as pool:
            yield from feed(pool, _do_there, tasks, at_once, sent)


def _do_there(task: Task, sent: dask_cluster.Broadcast) -> Outcome:
    return do(task, sent.value)


def default_place(n_tasks: int, *, each: bool = False) -> Workers:
    """Return where to do so many images: in processes, or here if they take longer to start.

    What trains on each image does so in one thread, whatever their number, since sums of several
    threads are rounded in another way.
    """
    if processors() > 1 and n_tasks > 1 and (each or n_tasks >= _WORTH_PROCESSES):
        return Processes(min(processors(), n_tasks))
    return ThisProcess()


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def feed(
    pool: Executor, work: Any, tasks: list[Task], at_once: int, *given: Any
) -> Generator[Outcome | None, bool | None, tuple[list[Task], list[Task]]]:
    """Keep an executor busy without handing it more than it can begin.

    Parameters
    ----------
    pool : Executor
    work : callable
        Called with a task, and with what is `given`.
    tasks : list of Task
    at_once : int
    *given

    Returns
    -------
    broken : list of Task
        Those under way when a process ended unexpectedly.
    left : list of Task
        Those not begun then; none if all are done or the run was stopped.
    """
    left = list(tasks)[::-1]
    under_way: dict[Future[Outcome], Task] = {}
    broken: list[Task] = []
    stop: bool | None = False
    while under_way or (left and not stop and not broken):
        while left and not stop and not broken and len(under_way) < at_once:
            task = left.pop()
            under_way[pool.submit(work, task, *given)] = task
            stop = (yield Outcome(task.source.name, "working")) or stop
        done, _ = wait(under_way, TICK_SECONDS, FIRST_COMPLETED)
        if not done:
            stop = (yield None) or stop
        for future in done:
            task = under_way.pop(future)
            try:
                outcome = future.result()
            except BrokenProcessPool:
                broken.append(task)
                continue
            except CancelledError:
                raise  # a cluster that is gone
            except Exception as error:  # of the process, not of the image
                outcome = failed(task.source, error)
            stop = (yield outcome) or stop
    return broken, [] if stop else left[::-1]


_model: Model | None = None


def do_sent(task: Task) -> Outcome:
    """Do an image with the model that this process was given."""
    return do(task, _model)


def _begin(model: Model | None) -> None:
    """Make ready a process of the pool."""
    global _model
    _model = model
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(5)
    use_threads(1)
    threadpool_limits(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)
