"""The Measure widget: a table of the objects of a Labels layer, linked to the view."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from napari.qt.threading import thread_worker
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QTimer
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mmtseg._napari.fields.object_table import ObjectTable
from napari_mmtseg._napari.fields.objects_choice import ObjectsChoice
from napari_mmtseg._napari.layers import layers as napari_layers
from napari_mmtseg._napari.layers.channel_axis import narrowed
from napari_mmtseg._napari.layers.mouse import clicked_value, forget, go_to, listen
from napari_mmtseg._napari.process.layer_pixels import Source, take
from napari_mmtseg._napari.process.measure_job import MeasureJob
from napari_mmtseg._napari.process.messages import Done, Failed, Progress, Stop
from napari_mmtseg._napari.process.training_process import TrainingProcess
from napari_mmtseg._napari.run.run_panel import thin_bar
from napari_mmtseg.labels.measurement import measure
from napari_mmtseg.labels.measurement_table import Table, write_table
from napari_mmtseg.system.error_text import error_text

if TYPE_CHECKING:
    import napari

_ALONE_MS = 400
_DOCK = "Measure (MMT Segmentation)"
"""As napari's menu calls it, which then finds the widget too."""
_STALE = "The labels have changed since: measure again."


class _Run(NamedTuple):
    """What is being measured, or was."""

    layer: Any
    axes: str
    """Of the labels."""
    sizes: tuple[float, ...]
    """Of a pixel along Z, Y and X, or Y and X, as measured."""


class _Outcome(NamedTuple):
    """A table, or why there is none; an exception returned alone would be raised on the way."""

    table: Table | None
    error: Exception | None = None


class MeasureWidget(QWidget):
    """Measure objects, list them, and find each in the view."""

    def __init__(self, napari_viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.measured: Table | None = None
        self.running = False
        self._run: _Run | None = None
        self._under_way: _Run | None = None
        self._links = ExitStack()
        self._moving = False
        self._away = False
        self._alone = QTimer(self)
        self._alone.setSingleShot(True)
        self._alone.setInterval(_ALONE_MS)
        self._alone.timeout.connect(self._show_all)
        self._process = TrainingProcess(self)
        """Measures what is not in memory; it starts when there is some."""
        self._process.said.connect(self._hear)
        self.picker = ObjectsChoice(self.viewer, with_image=True, lazy=True)
        self.measure_button = QPushButton("Measure")
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("End now and keep the frames that are measured.")
        self.progress = thin_bar()
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.table = ObjectTable()
        self.table.setToolTip(
            "Click a row to go to its object; click an object in the view to find its row."
        )
        self.table.setMinimumHeight(160)
        self.csv_button = QPushButton("Save as CSV…")
        self.csv_button.setToolTip("For spreadsheets, R and Python.")
        self.parquet_button = QPushButton("Save as Parquet…")
        self.parquet_button.setToolTip("For large tables; needs the package pyarrow.")
        column = QVBoxLayout(self)
        row = QHBoxLayout()
        for part in (self.measure_button, self.stop_button):
            row.addWidget(part)
        column.addWidget(self.picker)
        column.addLayout(row)
        for part in (self.progress, self.status):
            column.addWidget(part)
        column.addWidget(self.table, 1)
        buttons = QHBoxLayout()
        for button in (self.csv_button, self.parquet_button):
            buttons.addWidget(button)
        column.addLayout(buttons)
        self.setMinimumWidth(380)
        self.measure_button.clicked.connect(self.start)
        self.stop_button.clicked.connect(self.stop)
        self.picker.changed.connect(self._refresh)
        self.table.chosen.connect(self._go_to)
        self.csv_button.clicked.connect(lambda: self._ask_and_save("CSV", ".csv"))
        self.parquet_button.clicked.connect(lambda: self._ask_and_save("Parquet", ".parquet"))
        self.viewer.layers.events.removed.connect(self._note_removal)
        self.viewer.dims.events.current_step.connect(self._see_frame)
        self.destroyed.connect(self._links.close)
        self._refresh()

    def start(self) -> None:
        """Measure the chosen layers, without holding up the window."""
        problem = self.picker.problem()
        if problem or self.running:
            self.status.setText(problem or self.status.text())
            return
        layer, image, axes = self.picker.layer, self.picker.images.layer, self.picker.label_axes
        spacing, unit = self.picker.size()
        sizes = spacing or (1.0,) * len(self.picker.frame_axes)
        data = napari_layers.data_of(layer)
        try:
            # As they are now; what is not in memory is read where it is measured.
            labels = take(narrowed(data, axes), layer.name)
            pixels = None if image is None else take(napari_layers.data_of(image), image.name)
        except MemoryError as error:
            self.status.setText(error_text(error))
            return
        all_axes = axes.replace("C", "") if image is None else self.picker.image_axes()
        self._under_way, self.running = _Run(layer, axes, sizes), True
        afar = not isinstance(data, np.ndarray)
        if afar:  # it may have to be found first
            self.progress.setRange(0, 0)
            self._process.start(MeasureJob(labels, pixels, all_axes, spacing, unit))
        self._refresh()
        self.status.setText("Measuring…")
        if afar:
            return
        worker = thread_worker(_measure)(labels, pixels, all_axes, spacing, unit)
        # A method rather than a closure: Qt lets go of it when this widget is closed meanwhile.
        worker.returned.connect(self._finish)
        worker.start()

    def stop(self) -> None:
        """End what is being measured, and keep the frames that are done."""
        if self.progress.maximum() > 1:
            self._process.tell(Stop())
            self.status.setText("Stopping; keeping the frames that are measured…")
            self.stop_button.setEnabled(False)
        else:  # there is nothing to keep before the first
            self._process.discard()
            self._finish(_Outcome(None, None))

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Save the table as CSV or Parquet; see `write_table`."""
        if self.measured is not None:
            write_table(path, self.measured, overwrite=overwrite)
            show_info(f"Saved {Path(path).name}.")

    def showEvent(self, event: QShowEvent | None) -> None:
        """Let clicks in the view select objects."""
        self._away = False
        if self._run is not None:
            listen(self._run.layer, _pick)
        super().showEvent(event)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Leave clicks alone while there is no table to be seen."""
        self._away = True
        if self._run is not None:
            forget(self._run.layer, _pick)
        super().hideEvent(event)

    def _hear(self, message: Any) -> None:
        if isinstance(message, Progress):
            self.progress.setRange(0, message.total)
            self.progress.setValue(message.done)
            if self.stop_button.isEnabled():
                self.status.setText(f"Measured {message.done} of {message.total}")
        elif isinstance(message, Done | Failed):
            self._process.discard()  # and its memory
            if isinstance(message, Failed):
                self._finish(_Outcome(None, ValueError(message.text)))
            elif isinstance(message.result, Table):
                self._finish(_Outcome(message.result))

    def _finish(self, outcome: _Outcome) -> None:
        run, self.running = self._under_way, False
        self._refresh()
        if run is None or run.layer not in self.viewer.layers:
            self.status.setText("The objects' layer was removed while it was measured.")
        elif outcome.error is not None:
            self.status.setText(error_text(outcome.error))
        elif outcome.table is not None:
            self._show(run, outcome.table)
        else:
            self.status.setText("Stopped; nothing was measured.")

    def _show(self, run: _Run, table: Table) -> None:
        self._let_go()
        self.measured, self._run = table, run
        layer = run.layer
        self._tell_of_view()
        self.table.show_table(table)
        self.status.setText(summary(table, layer.name))
        for event, react in (
            (layer.events.selected_label, self._follow),
            (layer.events.paint, self._note_change),
            (layer.events.data, self._note_change),
        ):
            event.connect(react)
            self._links.callback(event.disconnect, react)
        self._links.callback(forget, layer, _pick)
        if not self._away:
            listen(layer, _pick)
        self._follow()
        self._refresh()

    def _go_to(self, row: int) -> None:
        """Select the object of a row and bring it into the middle of the view."""
        run, table = self._run, self.measured
        if run is None or table is None:
            return
        self._moving = True
        run.layer.selected_label = int(table["label"][row])
        self._moving = False
        go_to(self.viewer, run.layer, self._place(row))
        if self._alone.isActive() or not run.layer.show_selected_label:
            # For a moment alone, so that the eye finds it.
            run.layer.show_selected_label = True
            self._alone.start()

    def _show_all(self) -> None:
        if self._run is not None:
            self._run.layer.show_selected_label = False

    def _place(self, row: int) -> list[float]:
        """Return where an object is, in pixels along the layer's axes."""
        run, table = self._run, self.measured
        assert run is not None
        assert table is not None
        size = dict(zip("ZYX"[-len(run.sizes) :], run.sizes, strict=True))
        place = []
        here = run.layer.world_to_data(self.viewer.dims.point)
        for i, axis in enumerate(run.axes):
            if axis == "C":
                place.append(float(here[i]))
                continue
            whole = {"T": "frame", "Z": "plane"}.get(axis, "")
            if whole in table:
                place.append(float(table[whole][row]))
            else:
                place.append(float(table[axis.lower()][row]) / size[axis])
        return place

    def _follow(self) -> None:
        """Mark the row of the label that is selected in the layer, the one in view if several."""
        run, table = self._run, self.measured
        if run is None or table is None or self._moving:
            return
        rows = np.flatnonzero(table["label"] == run.layer.selected_label)
        if len(rows) > 1:
            here = run.layer.world_to_data(self.viewer.dims.point)
            for axis, name in (("T", "frame"), ("Z", "plane")):
                if name in table:
                    off = np.abs(table[name][rows] - here[run.axes.index(axis)])
                    rows = rows[off == off.min()]
        self.table.choose(int(rows[0]) if len(rows) else None)

    def _see_frame(self) -> None:
        """Turn to what is in view where an object has its number in several frames or planes."""
        if self._repeats():
            self._tell_of_view()
            self._follow()

    def _repeats(self) -> bool:
        table = self.measured
        return (
            self._run is not None
            and table is not None
            and len(np.unique(table["label"])) < table.n_rows
        )

    def _tell_of_view(self) -> None:
        """Give the layer the measures of its objects, of each those where it is in view."""
        run, table = self._run, self.measured
        if run is None or table is None:
            return
        shown = table
        if self._repeats():
            here = run.layer.world_to_data(self.viewer.dims.point)
            far = np.zeros(table.n_rows)
            for axis, name in (("T", "frame"), ("Z", "plane")):
                if name in table:
                    far += np.abs(table[name] - here[run.axes.index(axis)])
            order = np.lexsort((far, table["label"]))
            first = np.unique(table["label"][order], return_index=True)[1]
            rows = order[first]
            shown = Table({name: column[rows] for name, column in table.items()}, table.units)
        run.layer.features = with_measures(run.layer.features, shown)

    def _note_change(self) -> None:
        if _STALE not in self.status.text():
            self.status.setText(f"{self.status.text()} {_STALE}")

    def _note_removal(self) -> None:
        if self._run is not None and self._run.layer not in self.viewer.layers:
            self._let_go()
            self.status.setText("The objects' layer was removed; its table is still here.")

    def _let_go(self) -> None:
        """Leave the layer that was measured as it was found."""
        if self._alone.isActive():
            self._alone.stop()
            self._show_all()
        self._links.close()
        self._run = None

    def _refresh(self) -> None:
        problem = self.picker.problem()
        self.measure_button.setEnabled(not problem and not self.running)
        afar = self.running and self._process.busy
        for part in (self.stop_button, self.progress):
            part.setVisible(afar)
            part.setEnabled(afar)
        self.measure_button.setToolTip(problem or "Size, shape and intensity of each object.")
        if problem and not self.running:
            self.status.setText(problem)
        for button in (self.csv_button, self.parquet_button):
            button.setEnabled(self.measured is not None)

    def _ask_and_save(self, kind: str, ending: str) -> None:
        name = f"objects{ending}"
        path, _ = QFileDialog.getSaveFileName(self, "Save table", name, f"{kind} (*{ending})")
        if not path:
            return
        # The dialog has asked whether to replace the file that it was given, and no other.
        asked = Path(path).suffix.lower() == ending
        try:
            self.save(path if asked else path + ending, overwrite=asked)
        except (OSError, ValueError, ModuleNotFoundError) as error:
            show_error(str(error))


def summary(table: Table, name: str) -> str:
    """Say how many objects there are and how large, and what was assumed."""
    if not table.n_rows:
        return f"{name} holds no objects: all of it is background (0)."
    unit = table.units.get("diameter", "")
    size = f"median diameter {np.median(table['diameter']):.3g} {unit}"
    objects = "1 object" if table.n_rows == 1 else f"{table.n_rows} objects"
    where = [f"{len(np.unique(table[one]))} {one}s" for one in ("frame", "plane") if one in table]
    spread = f" in {' and '.join(where)}" if where else ""
    return " ".join([f"{objects}{spread}, {size}.", *table.notes])


def with_measures(features: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return a table for `Labels.features`, with the columns of others that were there before."""
    measures = pd.DataFrame(table).rename(columns={"label": "index"})
    others = [one for one in features if one not in measures and one != "share"]
    if "index" not in features or not others:
        return measures
    known = features[["index", *others]].drop_duplicates("index")
    return measures.merge(known, on="index", how="left")


def open_measure(viewer: napari.viewer.Viewer, layer: Any) -> MeasureWidget:
    """Open the widget, or take the one that is open already, and measure a Labels layer."""
    docked = viewer.window.dock_widgets.values()
    widget = next((one for one in docked if isinstance(one, MeasureWidget)), None)
    if widget is None:
        widget = MeasureWidget(viewer)
        viewer.window.add_dock_widget(widget, name=_DOCK, tabify=True)
    dock = widget.parentWidget()
    if dock is not None:
        dock.show()
        dock.raise_()
    widget.picker.labels.choose(layer)
    widget.start()
    return widget


def _measure(
    labels: Source,
    pixels: Source | None,
    axes: str,
    spacing: tuple[float, ...] | None,
    unit: str,
) -> _Outcome:
    """Measure in a thread; errors come back, since napari keeps some to itself."""
    try:
        image = None if pixels is None else pixels.open()
        return _Outcome(measure(labels.open(), image, axes=axes, spacing=spacing, unit=unit))
    except Exception as error:
        return _Outcome(None, error)


def _pick(layer: Any, event: Any) -> Any:
    """Select the object that is clicked; a drag still moves the view."""
    yield from clicked_value(layer, event, lambda value: setattr(layer, "selected_label", value))
