"""Label images on a cluster of dask.distributed: workers get the model once, and find tiles.

Retries, spilling, and what happens when a worker is lost are dask's.
"""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import pkgutil
import socket
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from napari_mmtseg._version import __version__
from napari_mmtseg.engine.threads import use_threads
from napari_mmtseg.images.frames import Frames, Region, grown

if TYPE_CHECKING:
    from distributed import Client, Future

    from napari_mmtseg.prediction.labeller import Labeller, RegionClusters

_PATIENCE_SECONDS = 10
WAITING_A_THREAD = 2
"""So many tiles are with the cluster for each of its threads, so that none runs idle."""
_NO_WARNING = {"distributed.admin.large-graph-warning-threshold": "1 TiB"}
"""Pixels of an image in memory travel with the tasks."""


class WorkerVersionError(RuntimeError):
    """A worker has another version of this package, or none."""


class ClusterGoneError(ConnectionError):
    """There is no such cluster, or it has gone."""


@contextlib.contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to the scheduler of a cluster.

    Parameters
    ----------
    address : str
        Such as "tcp://10.0.0.1:8786".

    Raises
    ------
    ModuleNotFoundError
        If dask.distributed is not installed.
    ClusterGoneError
        If there is no scheduler.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "A cluster needs dask.distributed, which is not installed: "
            "pip install 'napari-mmtseg[cluster]'"
        ) from error
    try:
        client = Client(address, timeout=_PATIENCE_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterGoneError(
            f"There is no dask scheduler at {address} ({error}): check the address that "
            "'dask scheduler' prints, or start one"
        ) from error
    with client:
        yield client


def check(client: Client) -> None:
    """Refuse a cluster that has no worker, or one with another version.

    Raises
    ------
    ClusterGoneError, WorkerVersionError
        Which names the worker.
    """
    with gone(client):
        found = client.run(
            pkgutil.resolve_name, "napari_mmtseg._version:__version__", on_error="return"
        )
    if not found:
        raise ClusterGoneError(
            f"The cluster at {_address(client)} has no worker: start one with 'dask worker "
            f"{_address(client)}', or wait for it with client.wait_for_workers(1)"
        )
    for worker, version in found.items():
        if version != __version__:
            _refuse(worker, version if isinstance(version, str) else None, __version__)


def _refuse(worker: str, has: str | None, wanted: str) -> None:
    has = f"napari-mmtseg {has}" if has else "no napari-mmtseg"
    raise WorkerVersionError(
        f"The worker {worker} has {has} where this process has {wanted}: labels might differ. "
        "Install the same version on all of them"
    )


class Broadcast:
    """Something that travels to each worker once; where it arrives, the worker is made ready.

    Attributes
    ----------
    value
        What was sent.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        import cloudpickle  # which comes with dask

        return _arrived, (cloudpickle.dumps(self.value), __version__, _process())


def _arrived(content: bytes, version: str, origin: tuple[str, int]) -> Broadcast:
    if version != __version__:
        _refuse(_this_worker(), __version__, version)
    if _process() != origin:  # not a cluster within the process of the user
        use_threads(1)  # each thread of a worker has a task of its own
        threadpool_limits(1)
    return Broadcast(pickle.loads(content))


def _process() -> tuple[str, int]:
    return socket.gethostname(), os.getpid()


def _this_worker() -> str:
    from distributed import get_worker

    try:
        return str(get_worker().address)
    except ValueError:
        return socket.gethostname()


def send(client: Client, value: Any) -> Future:
    """Hand something over to a cluster, of which each worker that needs it gets one copy.

    It is made by a task, so that it is not lost with the worker that has it.
    """
    with _quietly():
        return client.submit(_same, Broadcast(value), pure=False)


def shared(client: Client, value: Any) -> Future:
    """Check a cluster, and hand something over to it; see `check` and `send`."""
    check(client)
    return send(client, value)


def _same(sent: Broadcast) -> Broadcast:
    return sent


def find_all(
    client: Client, labeller: Labeller, frames: Frames, mask: Any = None
) -> Generator[RegionClusters, None, None]:
    """Find the clusters of all tiles of an image in memory on a cluster, in any order.

    Parameters
    ----------
    client : distributed.Client
    labeller : Labeller
    frames : Frames
    mask : array-like, optional
        From `frames.side_image`.

    Raises
    ------
    ClusterGoneError, WorkerVersionError
    """
    from distributed import as_completed

    check(client)
    sent = send(client, labeller)
    tiles = labeller.tiles(frames)
    with gone(client):
        waiting = as_completed()
        under_way: set[Future] = set()

        def fill() -> None:
            most = WAITING_A_THREAD * max(1, sum(client.nthreads().values()))
            while len(under_way) < most and (tile := next(tiles, None)):
                future = _submitted(client, sent, labeller, frames, mask, *tile)
                under_way.add(future)
                waiting.add(future)

        try:
            fill()
            while under_way:
                future = next(waiting)
                under_way.discard(future)
                found = future.result()
                del future  # and its result on the worker
                yield found
                fill()
        finally:
            if under_way:
                with contextlib.suppress(Exception):  # the cluster may be gone
                    client.cancel(list(under_way))


def _submitted(
    client: Client,
    sent: Future,
    labeller: Labeller,
    frames: Frames,
    mask: Any,
    index: int,
    tile: Region,
) -> Future:
    read = grown(tile, labeller.halo_px, frames.frame_shape)
    pixels = np.ascontiguousarray(frames.read(index, read))
    shown = None if mask is None else np.asarray(frames.frame_of(mask, index)[tile])
    window = _Window(frames.frame_shape, pixels, shown)
    with _quietly():
        return client.submit(_find, sent, window, index, tile, pure=False)


class _Window:
    """A tile and what lies around it, which answers for the whole image."""

    def __init__(
        self, frame_shape: tuple[int, ...], pixels: NDArray[Any], shown: NDArray[Any] | None
    ) -> None:
        self.frame_shape, self._pixels, self.shown = frame_shape, pixels, shown

    def read(self, index: int, region: Region) -> NDArray[Any]:
        return self._pixels

    def frame_of(self, mask: Any, index: int) -> _Window:
        return self

    def __getitem__(self, tile: Region) -> Any:
        return self.shown


def _find(sent: Broadcast, window: _Window, index: int, tile: Region) -> RegionClusters:
    labeller: Labeller = sent.value
    return labeller.find(cast(Frames, window), index, tile, window.shown)


def read_there(frames: Frames) -> Frames:
    """Return an image that a worker reads by itself, from where it is stored.

    Raises
    ------
    ValueError
        If it lies in the memory of a cluster.
    """
    if not hasattr(frames.data, "__dask_graph__"):
        return frames
    from distributed import futures_of

    if futures_of(frames.data):
        raise ValueError(
            "The image lies in the memory of the cluster (persist): hand over the array from "
            "before that, of which each worker reads its own blocks"
        )
    there = copy.copy(frames)
    there.data = _ReadThere(frames.data)
    return there


class _ReadThere:
    """A dask array that a task reads in its own thread: waiting for other tasks could last."""

    def __init__(self, image: Any) -> None:
        self._image = image
        self.shape, self.dtype, self.chunks = image.shape, image.dtype, image.chunks

    def __getitem__(self, key: Any) -> Any:
        return self._image[key].compute(scheduler="synchronous")


class BlocksAhead:
    """The blocks of lazy labels, computed on a cluster some ahead of being asked for.

    Parameters
    ----------
    client : distributed.Client
    labels : dask array
    """

    def __init__(self, client: Client, labels: Any) -> None:
        from dask.array.core import slices_from_chunks

        self._client, self._labels = client, labels
        self._left = deque(slices_from_chunks(labels.chunks))
        self._begun: dict[str, Future] = {}

    def __call__(self, region: Region) -> NDArray[Any]:
        """Return a block; blocks before it, which nobody asked for, are left out."""
        asked = str(region)
        if asked not in self._begun and region in self._left:
            while self._left[0] != region:
                self._left.popleft()
        most = 1 + WAITING_A_THREAD * max(1, sum(self._client.nthreads().values()))
        with gone(self._client):
            while self._left and len(self._begun) < most:
                box = self._left.popleft()
                self._begun[str(box)] = self._client.compute(self._labels[box])
            begun = self._begun.pop(asked, None) or self._client.compute(self._labels[region])
            return np.asarray(begun.result())


@contextlib.contextmanager
def gone(client: Client) -> Iterator[None]:
    """Say in a sentence that a cluster has gone.

    Raises
    ------
    ClusterGoneError
    """
    try:
        yield
    except (CancelledError, OSError) as error:
        theirs = "distributed" in type(error).__module__
        if isinstance(error, ClusterGoneError) or not (
            theirs or isinstance(error, CancelledError | TimeoutError)
        ):
            raise
        raise ClusterGoneError(
            f"The cluster at {_address(client)} is gone ({type(error).__name__}): start it and "
            "run again"
        ) from error


def _address(client: Client) -> str:
    return str(client.scheduler.address) if client.scheduler is not None else "an unknown address"


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    import dask

    with dask.config.set(_NO_WARNING):
        yield
