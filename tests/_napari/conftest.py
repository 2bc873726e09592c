"""What the tests of the window share."""

import pytest


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()  # as plugins get it
