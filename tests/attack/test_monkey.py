"""A monkey at the window: random actions over all widgets end in no error and leave nothing behind.

The same seed makes the same actions. The long form, 2,000 of them: ``MMTSEG_ATTACK=1 pytest
tests/attack/test_monkey.py``, under a display; MMTSEG_SEED is another monkey.
"""

import gc
import os
import random
import threading

import numpy as np
from napari.utils.notifications import ErrorNotification, notification_manager
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QColorDialog,
    QComboBox,
    QFileDialog,
    QMessageBox,
    QSlider,
    QWidget,
)

from napari_mmtseg._napari.process import training_process
from napari_mmtseg._napari.widgets import segment
from napari_mmtseg._napari.widgets.compare import CompareWidget
from napari_mmtseg._napari.widgets.correct import CorrectWidget
from napari_mmtseg._napari.widgets.folders import FoldersWidget
from napari_mmtseg._napari.widgets.group import GroupWidget
from napari_mmtseg._napari.widgets.measure import MeasureWidget
from napari_mmtseg._napari.widgets.teach import TeachWidget
from napari_mmtseg.methods import METHODS

SEED = int(os.environ.get("MMTSEG_SEED", "0"))
WIDGETS = [getattr(segment, f"{name}Widget") for name in METHODS]
WIDGETS += [CompareWidget, GroupWidget, MeasureWidget, CorrectWidget, FoldersWidget, TeachWidget]
OPEN, LAYERS = 2, 6  # at most
OURS = ("(_post)", "(_listen)", "(_wait)", "(_work)")  # threads


class Monkey:
    """Does one random thing after the other, and remembers what."""

    def __init__(self, viewer, seed):
        self.viewer = viewer
        self.random = random.Random(seed)
        self.docks = []
        self.did = []
        self.acts = [
            (self.open, 2),
            (self.close, 1),
            (self.add_layer, 3),
            (self.change_layer, 3),
            (self.press, 8),
            (self.choose, 6),
            (self.turn, 6),
            (self.look, 3),
            (self.rest, 4),
        ]

    def act(self):
        names, weights = zip(*self.acts, strict=True)
        (name,) = self.random.choices(names, weights)
        self.did.append(name.__name__)
        name()
        QApplication.processEvents()

    def open(self, cls=None):
        if len(self.docks) < OPEN:
            cls = cls or self.random.choice(WIDGETS)
            self.did.append(cls.__name__)
            widget = cls(self.viewer)
            dock = self.viewer.window.add_dock_widget(
                widget, name=f"{cls.__name__} {len(self.did)}"
            )
            self.docks.append((widget, dock))

    def close(self):
        if self.docks:
            _, dock = self.docks.pop(self.random.randrange(len(self.docks)))
            self.viewer.window.remove_dock_widget(dock)

    def add_layer(self):
        if len(self.viewer.layers) >= LAYERS:
            self.viewer.layers.remove(self.random.choice(list(self.viewer.layers)))
        noise = np.random.default_rng(self.random.randrange(9))
        shape = self.random.choice([(24, 32), (24, 32), (3, 24, 32), (2, 3, 24, 32)])
        kind = self.random.choice(["image", "image", "rgb", "labels", "shapes", "points"])
        pixels = noise.integers(0, 255, shape, np.uint8)
        if kind == "image":
            self.viewer.add_image(pixels)
        elif kind == "rgb":
            self.viewer.add_image(noise.integers(0, 255, (*shape, 3), np.uint8), rgb=True)
        elif kind == "labels":
            self.viewer.add_labels((pixels > 128).astype(int) * (1 + pixels % 5))
        elif kind == "shapes":
            self.viewer.add_shapes([[[2, 2], [2, 20], [20, 20]]], shape_type="polygon")
        else:
            self.viewer.add_points([[5, 5]])

    def change_layer(self):
        if not len(self.viewer.layers):
            return
        layer = self.random.choice(list(self.viewer.layers))
        change = self.random.randrange(5)
        if change == 0:
            self.viewer.layers.remove(layer)
        elif change == 1:
            layer.name = f"name {self.random.randrange(9)}"
        elif change == 2:
            self.viewer.layers.selection.active = layer
        elif change == 3:
            layer.scale = [self.random.choice([1, 2])] * layer.ndim
        else:
            self.viewer.layers.move(0, len(self.viewer.layers))

    def press(self):
        button = self._one(QAbstractButton)
        if button is not None:
            self.did.append(button.text())
            button.click()

    def choose(self):
        box = self._one(QComboBox)
        if box is not None and box.count():
            row = self.random.randrange(box.count())
            self.did.append(box.itemText(row))
            if box.itemText(row) == "paper":
                return  # which takes hours
            box.setCurrentIndex(row)
            box.activated.emit(row)

    def turn(self):
        field = self._one(QAbstractSpinBox, QSlider)
        if field is not None and hasattr(field, "setValue"):
            low, high = field.minimum(), min(field.maximum(), 40)
            whole = isinstance(field.value(), int)
            value = self.random.uniform(low, max(low, high))
            field.setValue(round(value) if whole else value)

    def look(self):
        dims = self.viewer.dims
        if self.random.random() < 0.2:
            dims.ndisplay = 5 - dims.ndisplay
        for axis in range(dims.ndim):
            dims.set_current_step(axis, self.random.randrange(max(1, int(dims.nsteps[axis]))))

    def rest(self):
        for _ in range(self.random.randrange(20)):
            QApplication.processEvents()
            threading.Event().wait(0.01)

    def leave(self):
        self.docks.clear()
        self.viewer.window.remove_dock_widget("all")  # and those that a button has opened
        self.viewer.layers.clear()
        self.viewer.dims.ndisplay = 2

    def _one(self, *kinds):
        """Return a field or button of one of the widgets that a user could use now."""
        found = [
            one
            for widget, _ in self.docks
            for one in widget.findChildren(QWidget)
            if isinstance(one, kinds) and one.isEnabled() and one.isVisibleTo(widget)
        ]
        return self.random.choice(found) if found else None


def callbacks(viewer):
    """Count who listens to the viewer, those that are gone left out."""
    gc.collect()
    viewer.add_image(np.zeros((4, 4)), name="last")  # napari drops them as it calls them
    viewer.add_image(np.zeros((4, 4)), name="first")
    viewer.layers.move(1, 0)
    viewer.layers.clear()
    viewer.dims.set_current_step(0, 0)
    layers = viewer.layers.events
    events = [layers.inserted, layers.removed, layers.reordered, viewer.dims.events.current_step]
    events.append(viewer.layers.selection.events.active)
    return [len(event.callbacks) for event in events]


def test_random_actions_end_in_no_error_and_leave_nothing_behind(
    make_napari_viewer, qtbot, monkeypatch, attacks
):
    errors, children = [], []

    def note(notification):
        if isinstance(notification, ErrorNotification):
            errors.append(notification.exception)

    class Child(training_process._Child):
        def __init__(self, owner):
            super().__init__(owner)
            children.append(self)

    monkeypatch.setattr(notification_manager, "dispatch", note)
    monkeypatch.setattr(training_process, "_Child", Child)
    for name in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(QFileDialog, name, lambda *_, **__: ("", ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, **__: "")
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_, **__: QColorDialog().currentColor())
    monkeypatch.setattr(QMessageBox, "question", lambda *_, **__: QMessageBox.StandardButton.No)
    viewer = make_napari_viewer()
    before, others = callbacks(viewer), set(threading.enumerate())  # a warm process of other tests
    monkey = Monkey(viewer, SEED)
    with qtbot.capture_exceptions() as raised:
        monkey.open(WIDGETS[0])
        for _ in range(attacks(40, 2000)):
            monkey.act()
            if raised or errors:
                break
        monkey.leave()
        qtbot.wait(100)
    assert not raised, (monkey.did[-12:], raised)
    assert not errors, (monkey.did[-12:], errors)
    assert children, "nothing was opened"
    qtbot.waitUntil(lambda: all(one.process.poll() is not None for one in children), timeout=20_000)

    def left():
        ours = set(threading.enumerate()) - others
        return [one.name for one in ours if one.name.endswith(OURS)]

    qtbot.waitUntil(lambda: not left(), timeout=20_000)
    QApplication.sendPostedEvents(None, 52)  # what is deleted later is deleted now
    # What is measured in a thread may keep its widget until it is done.
    qtbot.waitUntil(lambda: callbacks(viewer) == before, timeout=20_000)
