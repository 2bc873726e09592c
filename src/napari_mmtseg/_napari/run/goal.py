"""What are you looking for? The question that comes before all settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_mmtseg.methods.refined_method import PRESET_OF
from napari_mmtseg.settings import Method


class _Goal(NamedTuple):
    """What a method may be asked for."""

    title: str
    says: str


GOALS = {
    "objects": _Goal(
        "Objects",
        "Each nucleus, cell or grain by itself, to count and measure; the background stays empty.",
    ),
    "areas": _Goal("Areas", "Each connected area by itself, such as a gland or a layer of tissue."),
    "classes": _Goal("Classes", "One label for each kind of thing, wherever it is in the image."),
}
"""For each value of the setting `output`."""


class GoalChoice(QWidget):
    """Three buttons, of which one is down, and a line that says what it stands for."""

    chosen = Signal(str)
    """The user has pressed another button; the value is that of the setting `output`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.question = QLabel("What are you looking for?")
        self.buttons: dict[str, QPushButton] = {}
        self._group = QButtonGroup(self)
        self._says = QLabel()
        self._says.setWordWrap(True)
        self._says.setEnabled(False)
        self.note = ""
        row = QHBoxLayout()
        row.setSpacing(2)
        for name, goal in GOALS.items():
            button = self.buttons[name] = QPushButton(goal.title)
            button.setCheckable(True)
            button.setToolTip(goal.says)
            self._group.addButton(button)
            row.addWidget(button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addWidget(self.question)
        column.addLayout(row)
        column.addWidget(self._says)
        self.value = "classes"
        self._group.buttonClicked.connect(self._tell)

    @property
    def value(self) -> str:
        """The value of the setting `output`."""
        return next(name for name, button in self.buttons.items() if button.isChecked())

    @value.setter
    def value(self, output: str) -> None:
        self.buttons[output].setChecked(True)
        self._explain()

    def say_why(self, note: str) -> None:
        """Say why the answer is not the user's, until there is another note; "" takes it back."""
        self.note = note
        self._explain()

    def _explain(self) -> None:
        self._says.setText(" ".join(filter(None, (GOALS[self.value].says, self.note))))

    def _tell(self) -> None:
        self.say_why("")
        self.chosen.emit(self.value)


def settings_for(now: Method, output: str) -> Method:
    """Return the settings that suit another output, and those that the user has changed as is."""
    before, after = (_suited(type(now), one) for one in (getattr(now, "output", ""), output))
    changes: dict[str, Any] = {
        one.name: getattr(after, one.name)
        for one in now.settings()
        if getattr(now, one.name) == getattr(before, one.name)
    }
    return replace(now, **(changes | {"output": output}))


def _suited(method: type[Method], output: str) -> Method:
    preset = PRESET_OF[output]
    changes: dict[str, Any] = {"output": output}
    return method.preset(preset if preset in method.presets else "default", **changes)
