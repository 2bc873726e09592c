"""Split touching objects with networks that the image's own certain objects have taught.

`scenes` brings images to objects of one size and finds the objects to trust, `clumps` lays such
objects beside and over each other, so that the true border of touching objects is known, `network`
learns each pixel's distance from that border, `training` trains one network or two with their mean
teachers, and `separating` turns the distance into objects.
"""

from __future__ import annotations

from benchmarks.quality.splitting.scenes import Scene, certain, scene
from benchmarks.quality.splitting.separating import separate
from benchmarks.quality.splitting.training import Splitter, Teaching, train

__all__ = ["Scene", "Splitter", "Teaching", "certain", "scene", "separate", "train"]
