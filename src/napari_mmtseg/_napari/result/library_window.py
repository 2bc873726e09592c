"""The window of the user's models: pictures with names and dates, to be taken for any layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QBuffer, QByteArray, QIODevice, QSize, Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices, QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListView,
    QListWidget,
    QListWidgetItem,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mmtseg.methods import method_from_dict
from napari_mmtseg.model import Model
from napari_mmtseg.model.library import Entry, Library
from napari_mmtseg.system.error_text import error_text

_PICTURE = 128
_ENTRY = Qt.ItemDataRole.UserRole
_YES = QMessageBox.StandardButton.Yes


class LibraryWindow(QDialog):
    """Lists models; one can be taken, and the present one kept.

    Parameters
    ----------
    library : Library
    present : callable, optional
        Returns the model to be kept, its JSON note and its picture as PNG.
    name : str
        What to call it at first.
    """

    taken = Signal(object, str)
    """A `Model` and its name."""

    def __init__(
        self,
        library: Library,
        present: Callable[[], tuple[Model, dict[str, Any], bytes | None]] | None,
        name: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.library = library
        self._present = present
        self.setWindowTitle("Models")
        self.resize(560, 420)
        self.models = QListWidget()
        self.models.setViewMode(QListView.ViewMode.IconMode)
        self.models.setIconSize(QSize(_PICTURE, _PICTURE))
        self.models.setGridSize(QSize(_PICTURE + 28, _PICTURE + 58))
        self.models.setResizeMode(QListView.ResizeMode.Adjust)
        self.models.setMovement(QListView.Movement.Static)
        self.models.setWordWrap(True)
        self.models.setAccessibleName("Models")
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.name = QLineEdit(name)
        self.name.setPlaceholderText("Name of the model")
        self.name.setAccessibleName("Name of the model")
        self.keep_button = QPushButton("Keep this model")
        self.keep_button.setToolTip("Keep the model of the result shown under this name.")
        self.take_button = QPushButton("Take")
        self.take_button.setToolTip("Take this model: Apply model then labels the ticked images.")
        self.remove_button = QPushButton("Delete…")
        self.folder_button = QPushButton("Open folder")
        self.folder_button.setToolTip(
            f"{library.folder}: File > Preferences > MMT Segmentation says where models live."
        )
        keeping = QHBoxLayout()
        keeping.addWidget(self.name, 1)
        keeping.addWidget(self.keep_button)
        buttons = QGridLayout()
        for i, one in enumerate((self.take_button, self.remove_button, self.folder_button)):
            buttons.addWidget(one, 0, i)
        column = QVBoxLayout(self)
        column.addLayout(keeping)
        column.addWidget(self.models, 1)
        column.addWidget(self.status)
        column.addLayout(buttons)
        self.keep_button.clicked.connect(self.keep)
        self.take_button.clicked.connect(self.take)
        self.remove_button.clicked.connect(self._ask_and_remove)
        self.folder_button.clicked.connect(self._open_folder)
        self.models.itemActivated.connect(lambda _: self.take())
        self.models.itemSelectionChanged.connect(self._describe)
        for part in (self.name, self.keep_button):
            part.setEnabled(present is not None)
        self._list()

    @property
    def chosen(self) -> Entry | None:
        """The model that is selected."""
        items = self.models.selectedItems()
        return items[0].data(_ENTRY) if items else None

    def keep(self) -> None:
        """Keep the present model under the name typed."""
        if self._present is None:
            return
        try:
            entry = self.library.keep(self.name.text(), *self._present())
        except (OSError, ValueError, MemoryError) as error:
            self.status.setText(f"{error_text(error)}.".replace("..", "."))
            return
        self._list(entry.name)

    def take(self) -> None:
        """Take the model that is selected, and close."""
        entry = self.chosen
        if entry is None:
            return
        try:
            model = entry.load()
        except (OSError, ValueError, MemoryError) as error:
            self.status.setText(error_text(error))
            return
        self.taken.emit(model, entry.name)
        self.accept()

    def remove(self) -> None:
        """Delete the model that is selected."""
        entry = self.chosen
        if entry is None:
            return
        try:
            self.library.remove(entry)
        except OSError as error:
            self.status.setText(error_text(error))
        self._list()

    def _ask_and_remove(self) -> None:
        entry = self.chosen
        if entry is None:
            return
        question = f"Delete the model {entry.name}? This cannot be undone."
        if QMessageBox.question(self, "Delete model", question) == _YES:
            self.remove()

    def _open_folder(self) -> None:
        if self.library.folder.is_dir():
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.library.folder)))

    def _list(self, chosen: str = "") -> None:
        self.models.clear()
        for entry in self.library.entries():
            text = f"{entry.name}\n{entry.made[:10]}"
            item = QListWidgetItem(_icon(entry), text)
            item.setData(_ENTRY, entry)
            item.setToolTip(about(entry))
            self.models.addItem(item)
            if entry.name == chosen:
                self.models.setCurrentItem(item)
        self._describe()

    def _describe(self) -> None:
        entry = self.chosen
        for button in (self.take_button, self.remove_button):
            button.setEnabled(entry is not None)
        self.folder_button.setEnabled(self.library.folder.is_dir())
        if entry is not None:
            self.status.setText(about(entry))
        elif self.models.count():
            self.status.setText("Select a model to take it, or double-click it.")
        else:
            self.status.setText(
                "No models yet: run, then keep the model here under a name to label other images "
                "with it."
            )


def about(entry: Entry) -> str:
    """Say in a line what is known of a model."""
    parts = []
    settings = entry.about.get("settings")
    if isinstance(settings, dict):
        try:
            method = method_from_dict(settings)
        except (ValueError, TypeError):
            parts.append("of another version")
        else:
            changed = [
                f"{one.label.lower()} {getattr(method, one.name)}"
                for one in method.settings()
                if getattr(method, one.name) != one.default
            ]
            parts.append(", ".join([method.title, *changed[:4]]))
    image = entry.about.get("image")
    if isinstance(image, list) and image:
        parts.append(f"from {' + '.join(map(str, image))}")
    parts.append(entry.made.replace("T", " ")[:16])
    names = entry.about.get("names")
    if isinstance(names, dict) and names:
        parts.append(f"labels: {', '.join(map(str, names.values()))}")
    return " · ".join(parts)


def as_png(image: NDArray[np.uint8], side: int = _PICTURE) -> bytes:
    """Write an image small, cut to a square, as PNG.

    Parameters
    ----------
    image : (Y, X, 4) uint8 array
    side : int
        Of the picture, in pixels.
    """
    n = min(image.shape[:2])
    top, left = ((length - n) // 2 for length in image.shape[:2])
    square = np.ascontiguousarray(image[top : top + n, left : left + n])
    whole = QImage(square.tobytes(), n, n, 4 * n, QImage.Format.Format_RGBA8888)
    small = whole.scaled(
        side,
        side,
        Qt.AspectRatioMode.IgnoreAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
    kept = QByteArray()
    buffer = QBuffer(kept)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    small.save(buffer, "PNG")
    return bytes(kept.data())


def _icon(entry: Entry) -> QIcon:
    picture = QPixmap(str(entry.picture)) if entry.picture is not None else QPixmap()
    if picture.isNull():
        picture = QPixmap(_PICTURE, _PICTURE)
        picture.fill(Qt.GlobalColor.darkGray)
    return QIcon(picture)
