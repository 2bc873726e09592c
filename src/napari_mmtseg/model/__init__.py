"""What training leaves behind: the model, its file, and the library of models."""

from napari_mmtseg.model.model import Labels as Labels
from napari_mmtseg.model.model import Model as Model
from napari_mmtseg.model.model import Uncertainty as Uncertainty
from napari_mmtseg.model.model import load as load
