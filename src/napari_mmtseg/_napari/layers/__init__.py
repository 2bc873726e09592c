"""Layers in and out: pixels, axes, transforms, units, colours, and the mouse on them."""
