"""Pixels in: axes and frames, spacing, scaling, files, OME-Zarr, levels, and training's input."""
