"""What training leaves behind: predict labels with it, save it, load it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg import engine
from napari_mmtseg.engine import Learned, OnStep, drain
from napari_mmtseg.engine.cluster_merges import merges
from napari_mmtseg.images.frames import Frames, several
from napari_mmtseg.images.scaling import Scaling
from napari_mmtseg.images.spacing import check_alike
from napari_mmtseg.images.training_input import Guides, own_scaling
from napari_mmtseg.labels.legend import checked_labels, checked_names
from napari_mmtseg.labels.object_decision import nothing_sought
from napari_mmtseg.methods.refined_method import output_of
from napari_mmtseg.model import model_file
from napari_mmtseg.prediction.annotations import painted_classes, point_out
from napari_mmtseg.prediction.label_image import label_steps
from napari_mmtseg.prediction.label_table import automatic, in_use, merged
from napari_mmtseg.prediction.labeller import Labeller
from napari_mmtseg.prediction.lessons import lesson_steps, taught_method
from napari_mmtseg.prediction.survey import objects_of, seek_objects
from napari_mmtseg.settings import Method

Labels = NDArray[np.int32]
Uncertainty = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Model:
    """A trained method: the same pixels always get the same labels from it.

    Made by `train` or `load`.

    Attributes
    ----------
    method : Method
        The settings that it was trained with.
    scaling : Scaling
        How intensities become 0..1, measured once on the training image.
    is_rgb : bool
        Whether the channels are red, green and blue.
    weights : mapping of str to array
        All that the engine's predictor needs.
    colours : (K, C) float32 array
        Mean scaled intensity of each cluster.
    sizes : (K,) int64 array
        Pixels of each cluster in the sample that training ended with, from which labels are
        numbered. Clusters of size 0 share the label of the one that is most like them.
    classes : (K,) int64 array
        The user's class of each cluster, 0 for none.
    groups : (K,) int64 array
        Clusters with the same number merge before all others.
    order : (M, 2) int64 array
        The merges, as `engine.cluster_merges.merges` gives them for the clusters in use.
    labels : (K,) int64 array
        The label of each cluster, fixed when training ended.
    objects : (K,) int64 array
        1 for the clusters that objects are made of; all 0 if the method's output is not objects.
    contrast : (C + 1,) float64 array
        Weight of each channel, and what is added, for about 0 on the ground and 1 on objects.
    diameter : (1,) float64 array
        Of a typical object, in pixels of the plane, as measured; 0 if there is none.
    names : mapping of int to str
        What labels are called, of those that have a name.
    """

    method: Method
    scaling: Scaling
    is_rgb: bool
    weights: Mapping[str, NDArray[Any]] = field(repr=False)
    colours: NDArray[np.float32] = field(repr=False)
    sizes: NDArray[np.int64] = field(repr=False)
    classes: NDArray[np.int64] = field(repr=False)
    groups: NDArray[np.int64] = field(repr=False)
    order: NDArray[np.int64] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    objects: NDArray[np.int64] = field(repr=False)
    contrast: NDArray[np.float64] = field(repr=False)
    diameter: NDArray[np.float64] = field(repr=False)
    names: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, method: Method, scaling: Scaling, is_rgb: bool, learned: Learned) -> Model:
        """Make a model of what an engine has learned: order the merges and fix the labels."""
        weights, colours, sizes, classes, groups = learned
        if groups is None:
            groups = np.arange(len(sizes))
        used = in_use(sizes, classes)
        traits = weights.get("traits", colours)
        order = merges(traits[used], sizes[used], classes[used], groups[used])
        nothing = np.zeros(len(sizes), np.int64)
        known = (weights, colours, sizes, classes, groups, order, nothing)
        sought = nothing_sought(*colours.shape)
        model = cls(method, scaling, is_rgb, *known, *sought)
        return replace(model, labels=model._merged(automatic(model)))

    @property
    def n_channels(self) -> int:
        """Number of channels of the images that it takes."""
        return int(self.colours.shape[1])

    @property
    def traits(self) -> NDArray[np.floating]:
        """What makes clusters alike, (K, T): their mean intensities, or means of texture."""
        return self.weights.get("traits", self.colours)

    @property
    def n_clusters(self) -> int:
        """Number of clusters in use: the most labels it can give."""
        return int(in_use(self.sizes, self.classes).sum())

    @property
    def tile_px(self) -> tuple[int, ...]:
        """Sides of the tiles that images are labelled in, on a grid from their first pixel on."""
        return Labeller(self).tile_px

    @property
    def halo_px(self) -> tuple[int, ...]:
        """How far beyond its tile a pixel's label depends on the image, along each axis."""
        return Labeller(self).halo_px

    @property
    def diameter_px(self) -> float:
        """Diameter of a typical object, in pixels of the plane: as set, or else as measured."""
        return getattr(self.method, "diameter_px", 0.0) or float(self.diameter[0])

    @property
    def objects_are_dark(self) -> bool:
        """Whether objects are darker than all else, as where they absorb light."""
        brightness, member = self.colours.mean(1), self.objects != 0
        shares = [self.sizes * one for one in (member, ~member)]
        if not all(one.any() for one in shares):
            return False
        inside, outside = (np.average(brightness, weights=one) for one in shares)
        return bool(inside < outside)

    def label_of(self, n_labels: int | None = None) -> NDArray[np.int64]:
        """Return the label of each cluster, numbered from 1 by size.

        Parameters
        ----------
        n_labels : int, optional
            Merge clusters that look alike until so many labels are left. By default the labels
            are those that were fixed when training ended.

        Raises
        ------
        ValueError
            If n_labels is less than 1.
        """
        if n_labels is None:
            return self.labels
        if n_labels < 1:
            raise ValueError(f"Number of labels (n_labels) must be at least 1, got {n_labels}")
        return self._merged(n_labels)

    def with_labels(
        self, label_of: Sequence[int] | NDArray[np.int64], names: Mapping[int, str] | None = None
    ) -> Model:
        """Give each cluster another label, from 1, and labels their names; nothing is computed.

        Returns
        -------
        Model
            A copy that predicts these labels.

        Raises
        ------
        ValueError
            If there is not one label for each cluster, or a name is none.
        """
        labels = checked_labels(label_of, len(self.labels))
        return replace(self, labels=labels, names=checked_names(names or {}))

    def _merged(self, n_labels: int) -> NDArray[np.int64]:
        known = (self.order, self.traits, self.sizes, self.classes, self.groups)
        return merged(*known, n_labels)

    @overload
    def predict(
        self,
        image: ArrayLike,
        *,
        axes: str | Sequence[str] | None = None,
        spacing: Sequence[float] | None = None,
        mask: ArrayLike | None = None,
        n_labels: int | None = None,
        return_uncertainty: Literal[False] = False,
        client: Any = None,
    ) -> Labels: ...
    @overload
    def predict(
        self,
        image: ArrayLike,
        *,
        axes: str | Sequence[str] | None = None,
        spacing: Sequence[float] | None = None,
        mask: ArrayLike | None = None,
        n_labels: int | None = None,
        return_uncertainty: Literal[True],
        client: Any = None,
    ) -> tuple[Labels, Uncertainty | None]: ...
    def predict(
        self,
        image: ArrayLike,
        *,
        axes: str | Sequence[str] | None = None,
        spacing: Sequence[float] | None = None,
        mask: ArrayLike | None = None,
        n_labels: int | None = None,
        return_uncertainty: bool = False,
        client: Any = None,
    ) -> Labels | tuple[Labels, Uncertainty | None]:
        """Label an image with what was learned; a label means the same in every image and plane.

        Parameters
        ----------
        image : array-like
            Real numbers, with the channels that the model was trained on. A dask or zarr array
            gives dask arrays, of which nothing is computed yet.
        axes : str, optional
            The image's axes, such as "ZYX"; see `segment`.
        spacing : sequence of three numbers, optional
            The voxel's size along Z, Y and X; checked against that trained on.
        mask : integer or bool array-like, optional
            Of the shape of the labels: pixels where it is 0 are left out, and get label 0.
        n_labels : int, optional
            Number of labels at most; see `label_of`.
        return_uncertainty : bool
            Whether to return the uncertainty as well.
        client : distributed.Client, optional
            Of a dask cluster whose workers do the work; see the page on clusters.

        Returns
        -------
        labels : int32 array
            The image's shape without its channel axis; 0 where a pixel is not finite.
        uncertainty : float32 array, only if asked for
            How far the voters disagree, 0 to 1; None if the method has a single voter.

        Raises
        ------
        TypeError, ValueError
            If the image or its axes do not fit.
        MemoryError
            If the labels of an image that is not lazy do not fit into memory.
        """
        frames = self.frames(image, axes, spacing)
        label_of = self.label_of(n_labels)
        side = Guides.check([frames], self.method, None, mask).mask
        uncertain = return_uncertainty
        result = drain(
            label_steps(
                self.scaled_for(frames, spacing),
                frames,
                side,
                label_of=label_of,
                uncertain=uncertain,
                spacing=spacing,
                client=client,
            )
        )
        labels: Labels = result.labels(n_labels)
        return (labels, result.uncertainty) if return_uncertainty else labels

    def with_classes(
        self,
        image: ArrayLike | Sequence[ArrayLike],
        scribbles: ArrayLike | Sequence[ArrayLike],
        *,
        axes: str | Sequence[str] | None = None,
    ) -> Model:
        """Name the clusters by a few strokes; at once, without training again.

        Each cluster takes the class that it meets most, so that several may share one. A cluster
        that meets no stroke takes the class of the painted cluster nearest to it in mean
        intensity. The labels are then the classes.

        Parameters
        ----------
        image : array-like or list of arrays
            What the strokes are painted on, as for `predict`; or several images.
        scribbles : integer array-like, or as many as there are images
            Of the shape of the labels: 0 where nothing is painted, otherwise a class.
        axes : str, optional
            The axes of each image, such as "ZYX".

        Returns
        -------
        Model
            A copy with other `classes`.

        Raises
        ------
        TypeError, ValueError
            If an image or its scribbles do not fit, or fewer than two classes are painted where
            pixels are finite.

        References
        ----------
        Ji, Henriques and Vedaldi, ICCV 2019, section 4.2 (semi-supervised overclustering).
        """
        images, strokes = self._painted(image, scribbles, axes)
        classes = painted_classes(self, images, strokes)
        weights = engine.regrouped(self.weights, self.method, classes)
        learned = Learned(weights, self.colours, self.sizes, classes, self.groups)
        named = Model.of(self.method, self.scaling, self.is_rgb, learned)
        if not self.objects.any():
            return named
        # The class that most of what were objects has got.
        share = np.bincount(classes, weights=self.objects * np.maximum(self.sizes, 1))
        objects = (classes == share.argmax()).astype(np.int64)
        return replace(named, objects=objects, contrast=self.contrast, diameter=self.diameter)

    def taught(
        self,
        image: ArrayLike | Sequence[ArrayLike],
        scribbles: ArrayLike | Sequence[ArrayLike],
        *,
        axes: str | Sequence[str] | None = None,
        on_step: OnStep | None = None,
    ) -> Model:
        """Learn the user's classes from strokes; a model taught before goes on from what it knows.

        Two small networks learn from what the painted pixels lie in (edges, spots and texture at
        several scales). It takes about a second on a plane, and less for each further stroke. The
        labels are then the classes. What was painted stays in the model: a pixel painted anew
        counts as what it was painted last, and further strokes may come from any image or plane.

        Parameters
        ----------
        image, scribbles, axes
            As for `with_classes`. A model that knows classes may get a single one.
        on_step : callable, optional
            Called with each `Step`; once it returns True, learning stops early.

        Returns
        -------
        Model
            Its method is `Taught`, with the settings that it shares with this model's.

        Raises
        ------
        TypeError, ValueError
            If an image or its scribbles do not fit, fewer than two classes are painted, or there
            is nothing to tell them by.
        """
        frames, strokes = self._painted(image, scribbles, axes)
        learned = drain(lesson_steps(self, frames, strokes), on_step)
        model = Model.of(taught_method(self.method), self.scaling, self.is_rgb, learned)
        if output_of(model.method) != "objects":
            return model
        size = self.spacing if len(self.spacing) == 3 else None
        return replace(model, **seek_objects(model, frames, None, size)._asdict())

    def _painted(
        self,
        image: ArrayLike | Sequence[ArrayLike],
        scribbles: ArrayLike | Sequence[ArrayLike],
        axes: str | Sequence[str] | None,
    ) -> tuple[list[Frames], list[ArrayLike]]:
        """Take images and what is painted on each."""
        images, strokes = several(image), several(scribbles)
        if len(images) != len(strokes):
            raise ValueError(
                f"Each image needs its scribbles: got {len(images)} images and {len(strokes)} "
                "scribbles"
            )
        return [self.frames(one, axes) for one in images], strokes

    def with_objects(
        self,
        image: ArrayLike,
        at: Sequence[int],
        *,
        axes: str | Sequence[str] | None = None,
        spacing: Sequence[float] | None = None,
        mask: ArrayLike | None = None,
    ) -> Model:
        """Say by one pixel what objects are made of; at once, without training again.

        How they stand out and how wide they are is measured around that pixel; a set diameter goes.

        Parameters
        ----------
        image : array-like
            What the pixel is in, as for `predict`.
        at : sequence of int
            A pixel of an object, along the axes of the labels: (y, x), or (z, y, x) of a stack.
        axes, spacing, mask
            As for `predict`.

        Returns
        -------
        Model
            A copy whose output is objects.

        Raises
        ------
        TypeError, ValueError
            If the image does not fit, has no such pixel, or the method cannot give objects.
        """
        if not hasattr(self.method, "output"):
            raise ValueError(f"{self.method.title} gives no objects: train MMT, or another method")
        frames = self.frames(image, axes, spacing)
        side = Guides.check([frames], self.method, None, mask).mask
        objects: dict[str, Any] = {"output": "objects", "diameter_px": 0.0}
        told = replace(self.scaled_for(frames), method=replace(self.method, **objects))
        found = point_out(told, frames, at, spacing, side)
        return replace(told, scaling=self.scaling, **found._asdict())

    def draft(self) -> Model:
        """Return a copy that leaves out what only refines the labels, for a passing look."""
        method = replace(self.method, **self.method.draft)
        return replace(self, method=method, weights=engine.drafted(self.weights, method))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Size of a pixel along each axis that it looks along, 1 in the plane."""
        return tuple(float(one) for one in self.weights.get("spacing", (1.0, 1.0)))

    def in_other_light(self, image: ArrayLike, axes: str | Sequence[str] | None = None) -> bool:
        """Tell whether an image's range of intensities is another than that learned from."""
        own = own_scaling(self.frames(image, axes), self.method, self.scaling)
        return own.differs(self.scaling)

    def scaled_for(self, frames: Frames, spacing: Sequence[float] | None = None) -> Model:
        """Return the model for one image.

        Where each has an exposure of its own, it has the image's range of intensities, and its
        objects are as wide as those of the image.
        """
        if getattr(self.method, "exposure", "shared") != "own":
            return self
        scaled = replace(self, scaling=own_scaling(frames, self.method, self.scaling))
        found = objects_of(scaled, frames, spacing) if self.objects.any() else None
        return scaled if found is None else replace(scaled, **found._asdict())

    def frames(
        self,
        image: ArrayLike,
        axes: str | Sequence[str] | None = None,
        spacing: Sequence[float] | None = None,
    ) -> Frames:
        """Take an image as frames, or say why the model cannot.

        Raises
        ------
        TypeError, ValueError
            If the image or its axes do not fit, or if its channels, spatial axes or voxels differ
            from those trained on.
        """
        frames = Frames(image, axes, volumes=len(self.spacing) == 3)
        if len(self.spacing) != len(frames.frame_shape):
            raise ValueError(
                f"The model looks along Z as well, and the image has the axes {frames.axes}: "
                "choose a stack, or train with work_in='planes'"
            )
        check_alike(self.spacing, spacing)
        kinds = {True: "RGB", False: "other"}
        if frames.n_channels != self.n_channels or frames.is_rgb != self.is_rgb:
            raise ValueError(
                f"The model was trained on images with {self.n_channels} channels "
                f"({kinds[self.is_rgb]}), got {frames.n_channels} ({kinds[frames.is_rgb]}): "
                "choose an image with the same channels, or train on this one"
            )
        return frames

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model to a file (safetensors with a JSON header; no code inside).

        Parameters
        ----------
        path : path-like
            By custom it ends in ".safetensors".
        overwrite : bool
            Whether to replace a file that is there already.

        Raises
        ------
        FileExistsError
            If the file exists and overwrite is False, or if it is a link, folder or device.
        OSError
            If there is no such folder, no right to write there, or no room. What was there
            before is unchanged.
        """
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        model_file.write(path, fields, overwrite=overwrite)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Model:
        """Read a model from a file; see `load`."""
        return load(path)


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model that `Model.save` wrote.

    Raises
    ------
    FileNotFoundError, OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is damaged, or no model of this version. Nothing in a file is ever executed.
    MemoryError
        If the computer has too little memory for it.
    """
    return Model(**model_file.read(path))
