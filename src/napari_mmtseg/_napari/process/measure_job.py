"""Measure objects that are not in memory in the training process."""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

from napari_mmtseg._napari.process.layer_pixels import Source
from napari_mmtseg.labels.measurement import MeasuredFrames, measure_steps
from napari_mmtseg.labels.measurement_table import Table


class MeasureJob(NamedTuple):
    """What to measure; see `measure`."""

    labels: Source
    pixels: Source | None
    axes: str
    spacing: tuple[float, ...] | None
    unit: str

    def steps(self) -> Generator[MeasuredFrames, bool | None, Table]:
        """Measure frame by frame; only the training process may call this."""
        pixels = None if self.pixels is None else self.pixels.open()
        return measure_steps(
            self.labels.open(), pixels, axes=self.axes, spacing=self.spacing, unit=self.unit
        )
