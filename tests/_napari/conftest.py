"""What the tests of the window share."""

import pytest

from napari_mmtseg._napari import preferences
from napari_mmtseg._napari.process import training_process
from napari_mmtseg._napari.widgets.segment import MMTWidget

SECONDS = 120_000  # of patience, in milliseconds: the process imports torch first


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()  # as plugins get it


@pytest.fixture(scope="session")
def _idle():
    """Training processes that have nothing to do: importing torch takes most of a small test."""
    children: list[training_process._Child] = []
    yield children
    for child in children:
        child.kill()


@pytest.fixture
def warm(monkeypatch, _idle):
    """Let widgets take a process that an earlier test has left idle; returns what leaves one."""
    start = training_process._Child

    def take(owner):
        while _idle:
            child = _idle.pop()
            if child.process.poll() is None:
                child._owner = owner
                return child
        return start(owner)

    def leave(widget):
        training = widget.panel.process
        child, busy = training._child, training.busy
        if child is not None and not busy:
            training._child = None
            training._open.clear()
            child._owner = lambda: None  # nobody
            _idle.append(child)
        training.discard()

    monkeypatch.setattr(training_process, "_Child", take)
    return leave


@pytest.fixture
def widget(viewer, warm):
    """The widget in its dock, with a process that may have served others."""
    widget = MMTWidget(viewer)
    viewer.window.add_dock_widget(widget, name="MMT")
    yield widget
    warm(widget)


@pytest.fixture
def finish(qtbot):
    """Wait until a widget has nothing under way."""
    return lambda widget: qtbot.waitUntil(lambda: not widget.running, timeout=SECONDS)


@pytest.fixture(autouse=True)
def models_folder(monkeypatch, tmp_path):
    """Keep the user's own models out of it."""
    folder = tmp_path / "models"
    monkeypatch.setattr(preferences, "user_data_path", lambda _: tmp_path)
    return folder
