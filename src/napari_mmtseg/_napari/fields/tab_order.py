"""Let the Tab key go through a widget in reading order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLayout, QScrollArea, QWidget


def read_in_order(widget: QWidget) -> None:
    """Order the focus of all fields as the layouts place them, from top to bottom."""
    for one, after in pairwise(_fields(widget)):
        QWidget.setTabOrder(one, after)


def _fields(widget: QWidget) -> Iterator[QWidget]:
    if widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
        yield widget
    if isinstance(widget, QScrollArea):
        inner = widget.widget()
        if inner is not None:
            yield from _fields(inner)
    elif widget.layout() is not None:
        yield from _within(widget.layout())


def _within(layout: QLayout) -> Iterator[QWidget]:
    for index in range(layout.count()):
        item = layout.itemAt(index)
        if item is None:
            continue
        widget, inner = item.widget(), item.layout()
        if widget is not None:
            yield from _fields(widget)
        elif inner is not None:
            yield from _within(inner)
