"""Do a folder of images: one model for all, a result and a record beside it for each."""

from napari_mmtseg.folders.batch import Batch, FileStep, batch_steps

__all__ = ["Batch", "FileStep", "batch_steps"]
