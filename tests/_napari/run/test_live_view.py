"""The layer of a run becomes the result's, or goes with all that draws it."""

import weakref

import numpy as np
import pytest
from napari.layers import Labels

from napari_mmtseg._napari.fields.layer_choice import LayerChoice
from napari_mmtseg._napari.process.messages import Preview
from napari_mmtseg._napari.run.live_view import LiveView

# Which objects draw a layer is nobody's business but napari's, and there is no public word for it.
pytestmark = pytest.mark.filterwarnings("ignore:Private attribute access:FutureWarning")


@pytest.fixture
def live(viewer):
    viewer.add_image(np.zeros((24, 32)), name="image")
    live = LiveView(viewer, (24, 32), "live", {})
    live.show(Preview(0, np.ones((24, 32), np.int32)))
    yield live
    live.drop()


@pytest.fixture
def result():
    values = np.arange(24 * 32, dtype=np.int32).reshape(24, 32) % 5
    features = {"index": [1, 2], "share": [0.5, 0.5]}
    return Labels(values, name="result", features=features, opacity=0.4, metadata={"is": "result"})


def drawn(viewer, layer):
    return weakref.ref(viewer.window._qt_viewer.canvas.layer_to_visual[layer].node)


def test_it_becomes_the_result_and_others_hear_of_it(viewer, live, result):
    choice, told = LayerChoice(viewer), []
    choice.listed.connect(lambda: told.append(choice.itemText(0)))
    layer = viewer.layers["live"]
    layer.visible = False
    viewer.layers.selection.active = viewer.layers["image"]
    shown = live.become(result)
    assert shown == layer
    assert [one.name for one in viewer.layers] == ["image", "result"]
    np.testing.assert_array_equal(layer.data, result.data)
    assert list(layer.features["index"]) == [1, 2]
    assert (layer.opacity, layer.metadata) == (0.4, {"is": "result"})
    assert layer.visible
    assert layer.editable
    assert viewer.layers.selection.active == layer
    assert told == ["result"]
    live.drop()  # which leaves results alone
    assert "result" in viewer.layers
    layer.paint((3, 4), 9)
    assert layer.data[3, 4] == 9


def test_a_layer_that_the_user_has_changed_stays_beside_the_result(viewer, live, result):
    viewer.layers["live"].data = mine = np.full((24, 32), 3)
    assert live.become(result) == result
    assert [one.name for one in viewer.layers] == ["image", "live", "result"]
    np.testing.assert_array_equal(viewer.layers["live"].data, mine)


def test_what_draws_it_is_gone_at_once(viewer, live):
    """Or else another thread might collect it while the canvas is drawn, which ends the program."""
    node = drawn(viewer, viewer.layers["live"])
    live.drop()
    assert "live" not in viewer.layers
    assert node() is None


def test_what_draws_an_older_layer_is_gone_at_once_too(viewer, live):
    node = drawn(viewer, viewer.layers["image"])
    viewer.layers.remove("image")
    assert node() is None
    live.show(Preview(0, np.full((24, 32), 2, np.int32)))
    assert viewer.layers["live"].data[5, 5] == 2
