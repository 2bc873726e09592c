"""Sample images for File > Open Sample."""

from __future__ import annotations

from typing import Any

from napari.qt.threading import thread_worker
from napari.utils.notifications import show_info
from qtpy.QtCore import QCoreApplication, QEventLoop, QTimer

from napari_mmtseg.samples import nuclei_stack

_NOTICE_MS = 500
_OFFLINE = (
    "The cells could not be downloaded (14 MB, once): connect to the internet and open the sample "
    "again, or take the nuclei stack, which needs no download ({})"
)

LayerData = tuple[Any, dict[str, Any], str]


def tissue() -> list[LayerData]:
    """Open a stained tissue: immunohistochemistry, 512 x 512 RGB (scikit-image)."""
    from skimage.data import immunohistochemistry

    return [(immunohistochemistry(), {"name": "tissue", "rgb": True}, "image")]


def nuclei() -> list[LayerData]:
    """Open a generated stack of nuclei with its ground truth."""
    image, truth = nuclei_stack()
    shared = {
        "scale": (0.8, 0.25, 0.25),
        "units": ("um", "um", "um"),
        "axis_labels": ("z", "y", "x"),
    }
    return [
        (image, {"name": "nuclei", "colormap": "gray", **shared}, "image"),
        (truth, {"name": "nuclei truth", "visible": False, **shared}, "labels"),
    ]


def cells() -> list[LayerData]:
    """Download and open cells3d: membranes and nuclei, 60 x 256 x 256 (scikit-image).

    Raises
    ------
    ConnectionError
        If they cannot be downloaded.
    """
    stack = _download_cells()  # (Z, C, Y, X)
    shared = {
        "scale": (0.29, 0.26, 0.26),
        "units": ("um", "um", "um"),
        "axis_labels": ("z", "y", "x"),
        "blending": "additive",
    }
    return [
        (stack[:, 0], {"name": "membranes", "colormap": "magenta", **shared}, "image"),
        (stack[:, 1], {"name": "nuclei", "colormap": "green", **shared}, "image"),
    ]


def _download_cells() -> Any:
    """Wait for the download in a loop of the window's events, because napari wants layers back."""
    if QCoreApplication.instance() is None:
        stack, error = _cells_or_error()
    else:
        loop = QEventLoop()
        came: list[tuple[Any, BaseException | None]] = []
        worker = thread_worker(_cells_or_error)()
        worker.returned.connect(came.append)
        worker.finished.connect(loop.quit)
        notice = QTimer(singleShot=True)
        notice.timeout.connect(lambda: show_info("Downloading the cells (14 MB)…"))
        notice.start(_NOTICE_MS)
        worker.start()
        loop.exec()
        notice.stop()
        stack, error = came[0] if came else (None, None)  # none if napari is left meanwhile
    if stack is None:
        raise ConnectionError(_OFFLINE.format(error)) from error
    return stack


def _cells_or_error() -> tuple[Any, BaseException | None]:
    from skimage.data import cells3d

    try:
        return cells3d(), None
    except BaseException as error:  # a worker is silent about some of them
        return None, error
