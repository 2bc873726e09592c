"""The layer of a run goes with all that draws it, and holds nothing else up."""

import gc
import weakref

import numpy as np
import pytest

from napari_mmtseg._napari.live_view import LiveView
from napari_mmtseg._napari.messages import Preview

# Which objects draw a layer is nobody's business but napari's, and there is no public word for it.
pytestmark = pytest.mark.filterwarnings("ignore:Private attribute access:FutureWarning")


@pytest.fixture
def live(viewer):
    viewer.add_image(np.zeros((24, 32)), name="image")
    live = LiveView(viewer, (24, 32), "live", {})
    live.show(Preview(0, np.ones((24, 32), np.int32)))
    yield live
    live.drop()
    assert gc.get_freeze_count() == 0


def drawn(viewer, layer):
    return weakref.ref(viewer.window._qt_viewer.canvas.layer_to_visual[layer].node)


def test_what_draws_it_is_gone_at_once(viewer, live):
    """Or else another thread might collect it while the canvas is drawn, which ends the program."""
    node = drawn(viewer, viewer.layers["live"])
    assert gc.get_freeze_count() > 0
    live.drop()
    assert "live" not in viewer.layers
    assert node() is None


def test_what_draws_an_older_layer_is_gone_at_once_too(viewer, live):
    node = drawn(viewer, viewer.layers["image"])
    viewer.layers.remove("image")
    assert node() is None
    live.show(Preview(0, np.full((24, 32), 2, np.int32)))
    assert viewer.layers["live"].data[5, 5] == 2
