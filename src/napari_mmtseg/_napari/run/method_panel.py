"""Choose what is looked for, the method, its preset and its settings."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from napari.layers import Image
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from napari_mmtseg._napari import preferences
from napari_mmtseg._napari.fields.form_rows import label_of, rows_of
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.run.goal import GoalChoice
from napari_mmtseg._napari.run.preset_choice import PresetChoice
from napari_mmtseg._napari.run.settings_form import SettingsForm
from napari_mmtseg.methods import METHODS, MMT
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.prediction.object_search import check_objects
from napari_mmtseg.settings import Method


class MethodPanel(QWidget):
    """The settings of any method of the catalogue.

    Parameters
    ----------
    first : type
        The method to begin with; with MMT, objects are looked for.
    """

    form: SettingsForm
    """The settings of the method chosen."""
    changed = Signal()
    method_changed = Signal()

    def __init__(self, first: type[Method], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._first_output = "objects" if first is MMT else output_of(first())
        self._by_hand = False
        self._left: dict[type[Method], Method] = {}
        """The settings of methods that were chosen before."""
        self.goal = GoalChoice()
        self.method_choice = QComboBox()
        for row, (name, cls) in enumerate(METHODS.items()):
            self.method_choice.addItem(cls.title, name)
            self.method_choice.setItemData(row, cls.summary, Qt.ItemDataRole.ToolTipRole)
        self.method_choice.setCurrentIndex(self.method_choice.findData(first.__name__))
        self.preset = PresetChoice()
        self.says = QLabel()
        self.says.setWordWrap(True)
        self.says.setEnabled(False)  # in the colour of what only explains
        self._form_place = QVBoxLayout()
        choices = rows_of()
        choices.addRow(label_of("Method"), self.method_choice)
        choices.addRow(label_of("Preset", self.preset.toolTip()), self.preset)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self.goal)
        column.addLayout(choices)
        column.addWidget(self.says)
        column.addLayout(self._form_place)
        self._choose_method(self._first_output)
        self.method_choice.currentIndexChanged.connect(self._change_method)
        self.preset.activated.connect(self._choose_preset)
        self.goal.chosen.connect(self._choose_goal)

    @property
    def method_class(self) -> type[Method]:
        """The method chosen."""
        return METHODS[self.method_choice.currentData()]

    def show_method(self, method: Method) -> None:
        """Choose a method and show its settings."""
        self.method_choice.setCurrentIndex(self.method_choice.findData(type(method).__name__))
        self._by_hand = True
        self.form.show_method(method)

    def fit(self, layers: Sequence[Image]) -> None:
        """Look for classes in lazy images, unless the user has asked for something else."""
        if self._by_hand or not self.form.has_goal:
            return
        lazy = bool(layers) and napari_layers.are_lazy(layers)
        if lazy and self.goal.value == self._first_output == "objects":
            self.form.look_for("classes")
            self.goal.say_why(
                f"Chosen since {layers[0].name} is lazy: classes of the plane in view are there "
                "at once, objects take longer."
            )
        elif not lazy and self.goal.note:
            self.goal.say_why("")
            self.form.look_for("objects")

    def problem(self, layers: Sequence[Image], axes: str) -> str:
        """Say why images cannot be segmented so, or return an empty string.

        Parameters
        ----------
        layers : sequence of Image
            None, or those that `layers.check` does not complain of.
        axes : str
            Of the first, without its colours.
        """
        try:
            method = self.form.method()
        except (ValueError, TypeError) as error:
            return f"{error}."
        output = output_of(method)
        if not layers or output == "classes" or not method.trains:
            return ""
        try:
            check_objects(method, napari_layers.outline(layers, axes))
        except ValueError as error:
            return f"{error}."
        return ""

    def _change_method(self) -> None:
        self._choose_method(self.goal.value)
        self.method_changed.emit()

    def _choose_method(self, output: str) -> None:
        cls = self.method_class
        old = self._form_place.takeAt(0)
        if old is not None:
            with contextlib.suppress(ValueError, TypeError):
                left = self.form.method()
                self._left[type(left)] = left
        if old is not None and old.widget() is not None:
            old.widget().hide()
            old.widget().deleteLater()
        self.form = SettingsForm(cls, self.goal)
        preferred = preferences.preferred(self.form.method())
        if preferred != self.form.method():
            self.form.show_method(preferred)
        self.form.changed.connect(self._settings_changed)
        self._form_place.addWidget(self.form)
        self.goal.setVisible(self.form.has_goal)
        self.preset.offer(cls)
        if cls in self._left:
            self.form.show_method(self._left[cls])
        if self.form.has_goal:
            self.form.look_for(output)
        self.says.setText(self.preset.says())

    def _choose_goal(self, output: str) -> None:
        self._by_hand = True
        self.form.look_for(output)

    def _choose_preset(self) -> None:
        wanted = self.preset.wanted(self.goal.value)
        if wanted is not None:
            self.form.show_method(wanted)

    def _settings_changed(self) -> None:
        with contextlib.suppress(ValueError, TypeError):
            self.preset.show_match(self.form.method())
        self.says.setText(self.preset.says())
        self.changed.emit()
