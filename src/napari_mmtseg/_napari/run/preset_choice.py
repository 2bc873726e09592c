"""Choose a method's preset, and see which one the settings shown are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QWidget

from napari_mmtseg.settings import Method

_SAYS = {
    "default": "Suits most images; seconds.",
    "nuclei": "For things brighter or darker than what is around them; seconds.",
    "areas": "For large areas of one texture, such as epithelium and stroma; seconds.",
    "paper": "As published, taken literally, to compare with it: minutes to hours.",
    "custom": "What you have chosen yourself.",
}
_OUTPUT = "output"


class PresetChoice(QComboBox):
    """The presets of one method; "custom" stands for settings that are none of them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setToolTip("Settings that belong together; changing one makes them custom.")
        self._class: type[Method] = Method

    def offer(self, method: type[Method]) -> None:
        """Offer the presets of a method."""
        self._class = method
        self._fill(["default", *method.presets])

    def says(self) -> str:
        """Say in a sentence what the preset shown is for."""
        return _SAYS.get(self.currentText(), "")

    def wanted(self, output: str) -> Method | None:
        """Return the settings of the preset chosen; None for "custom".

        Parameters
        ----------
        output : str
            What is looked for, which a preset that says nothing about it leaves as it is.
        """
        name = self.currentText()
        if name == "custom":
            return None
        chosen = self._class.preset(name)
        return chosen if self._names_output(name) else _with(chosen, output)

    def show_match(self, now: Method) -> None:
        """Show which preset these settings are, whatever their seed."""
        output = getattr(now, _OUTPUT, "")
        names = ["default", *self._class.presets]
        # Those that say what they are for come first: others may be alike but for that.
        for name in sorted(names, key=lambda one: not self._names_output(one)):
            preset = self._class.preset(name)
            if _like(now, preset if self._names_output(name) else _with(preset, output)):
                self._fill(names)
                self.setCurrentText(name)
                return
        self._fill([*names, "custom"])
        self.setCurrentText("custom")

    def _names_output(self, name: str) -> bool:
        return _OUTPUT in self._class.presets.get(name, {})

    def _fill(self, names: list[str]) -> None:
        self.clear()
        for row, name in enumerate(names):
            self.addItem(name)
            self.setItemData(row, _SAYS.get(name, ""), Qt.ItemDataRole.ToolTipRole)


def _with(method: Method, output: str) -> Method:
    changes: dict[str, Any] = {_OUTPUT: output} if hasattr(method, _OUTPUT) else {}
    return replace(method, **changes)


def _like(one: Method, other: Method) -> bool:
    """Tell whether two methods have the same settings, whatever their seeds."""
    return {**one.to_dict(), "seed": 0} == {**other.to_dict(), "seed": 0}
