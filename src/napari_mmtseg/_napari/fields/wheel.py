"""Leave a field as it is when the wheel turns over it on the way down the form."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QComboBox, QSlider, QWidget


class WheelGuard(QObject):
    """Lets the wheel change a field only when it has the focus; otherwise the form scrolls."""

    def watch(self, widget: QWidget) -> None:
        """Guard all fields of a widget that are there by now."""
        fields = [widget, *widget.findChildren(QWidget)]
        for field in fields:
            if isinstance(field, QAbstractSpinBox | QComboBox | QSlider):
                field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # never by the wheel
                field.installEventFilter(self)

    def eventFilter(self, field: QObject | None, event: QEvent | None) -> bool:
        """Pass the wheel on to what lies around a field without the focus."""
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        if field is None or field is QApplication.focusWidget():
            return False
        event.ignore()
        return True
