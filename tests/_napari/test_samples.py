"""The sample that is downloaded."""

import time

import numpy as np
import pytest
import skimage.data
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QTimer

STACK = np.random.default_rng(0).integers(0, 9, (4, 2, 16, 16), np.uint16)


def test_the_window_lives_while_the_cells_are_downloaded(viewer, monkeypatch):
    def download():
        time.sleep(1)
        return STACK

    monkeypatch.setattr(skimage.data, "cells3d", download)
    said, ticks = [], []
    monkeypatch.setattr(notification_manager, "dispatch", lambda one: said.append(one.message))
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(20)
    viewer.open_sample("napari-mmtseg", "cells")
    timer.stop()
    assert [one.name for one in viewer.layers] == ["membranes", "nuclei"]
    assert len(ticks) > 5
    assert "Downloading" in said[0]


@pytest.mark.parametrize("error", [ConnectionError("no route"), RuntimeError("odd"), OSError()])
def test_without_a_network_the_cells_say_what_to_do(viewer, monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(skimage.data, "cells3d", fail)
    with pytest.raises(ConnectionError, match="connect to the internet"):
        viewer.open_sample("napari-mmtseg", "cells")
    assert len(viewer.layers) == 0
