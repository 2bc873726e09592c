"""IIC: clusters that two views agree on; of pixels (the method IIC) and of whole objects."""

from napari_mmtseg.engine.iic.pixels import arrays as arrays
from napari_mmtseg.engine.iic.pixels import predictor as predictor
from napari_mmtseg.engine.iic.pixels import regrouped as regrouped
from napari_mmtseg.engine.iic.pixels import train as train
