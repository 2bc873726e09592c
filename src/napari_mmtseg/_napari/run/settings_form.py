"""A form made from a method's declaration."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from magicgui.widgets import create_widget
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_mmtseg._napari.fields.form_rows import FoldedRows, label_of, rows_of
from napari_mmtseg._napari.run.goal import GoalChoice, settings_for
from napari_mmtseg.settings import Group, Method, Setting

_CLOSED: dict[Group, str] = {"advanced": "Advanced", "papers": "Of the papers"}
_GOAL, _OF_OBJECTS = "output", "diameter_px"
_NARROW = 84  # pixels; napari's dock is narrow, and numbers are short


class SettingsForm(QWidget):
    """Shows the settings of one method: the basic ones, and the others in groups to open.

    Parameters
    ----------
    method : type
    goal : GoalChoice, optional
        Asks for the output in another place, and whoever owns it calls `look_for`; without one
        the form asks in its first row.
    """

    changed = Signal()

    def __init__(
        self,
        method: type[Method],
        goal: GoalChoice | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._class = method
        self.has_goal = any(one.name == _GOAL for one in method.settings())
        self.goal = GoalChoice(self) if goal is None else goal
        self._rows_of: dict[str, tuple[QWidget, QWidget]] = {}
        self._fields = {one.name: self._field(one) for one in method.settings()}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        if self.has_goal:
            self._asked = self.goal.value = method.preset("default").to_dict()[_GOAL]
        if goal is None:
            layout.addWidget(self.goal)
            self.goal.setVisible(self.has_goal)
            self.goal.chosen.connect(self.look_for)
        layout.addWidget(self._rows("basic"))
        for group, title in _CLOSED.items():
            if any(one.group == group for one in method.settings()):
                layout.addWidget(FoldedRows(title, self._rows(group)))
        self._show_rows()

    def method(self) -> Method:
        """Return the settings shown.

        Raises
        ------
        ValueError, TypeError
            If a value is out of its range.
        """
        return self._class(**{name: field.value for name, field in self._fields.items()})

    def show_method(self, method: Method) -> None:
        """Show these settings."""
        self.blockSignals(True)
        for name, field in self._fields.items():
            _show(field, getattr(method, name))
        self.blockSignals(False)
        self._asked = self.goal.value
        self._show_rows()
        self.changed.emit()

    def look_for(self, output: str) -> None:
        """Take the settings that suit another output; what the user has changed stays."""
        try:
            now = replace(self.method(), **{_GOAL: self._asked})
        except (ValueError, TypeError):  # a field is out of its range, and stays as it is
            self.goal.value = output
            self.changed.emit()
            return
        self.show_method(settings_for(now, output))

    def _show_rows(self) -> None:
        """Hide what is about objects alone where none are looked for."""
        for part in self._rows_of.get(_OF_OBJECTS, ()):
            part.setVisible(self.goal.value == "objects")

    def _rows(self, group: Group) -> QWidget:
        box = QWidget(self)
        rows = rows_of(box)
        for one in self._class.settings():
            if one.group == group and one.name != _GOAL:
                row = self._rows_of[one.name] = label_of(one.label, one.help), self._explained(one)
                rows.addRow(*row)
        return box

    def _explained(self, one: Setting) -> QWidget:
        """Put the unit, or what 0 stands for, beside the field."""
        field = self._fields[one.name]
        if not (one.zero or one.unit):
            native: QWidget = field.native
            return native
        beside = QLabel()
        beside.setEnabled(False)

        def explain(value: float) -> None:
            beside.setText(one.zero if one.zero and value == 0 else one.unit)

        field.changed.connect(explain)
        explain(field.value)
        row = QWidget(self)
        cells = QHBoxLayout(row)
        cells.setContentsMargins(0, 0, 0, 0)
        cells.addWidget(field.native)
        cells.addWidget(beside)
        return row

    def _field(self, one: Setting) -> Any:
        if one.name == _GOAL:
            return self.goal
        options: dict[str, Any] = {"tooltip": one.help}
        if one.choices:
            options["choices"] = one.choices
        elif one.type is not bool:
            options |= {"min": one.ge, "max": one.le}
            if one.step is not None:
                options["step"] = one.step
        field = create_widget(value=one.default, annotation=one.type, options=options)
        _show(field, one.default)
        field.native.setMinimumWidth(_NARROW)
        field.changed.connect(lambda: self.changed.emit())
        return field


def _show(field: Any, value: Any) -> None:
    """Show a value with all its digits: a box for numbers would round it to those of its step."""
    box = getattr(field, "native", None)
    if isinstance(value, float) and isinstance(box, QDoubleSpinBox):
        exponent = Decimal(repr(value)).normalize().as_tuple().exponent
        box.setDecimals(max(box.decimals(), -int(exponent)))
    field.value = value
