"""What training leaves behind: predict labels with it, save it, load it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_mmtseg import engine, saving
from napari_mmtseg.arrays import Planes, Scaling, several
from napari_mmtseg.engine.merging import cut, fewest, merges
from napari_mmtseg.engine.naming import count_strokes, name_clusters
from napari_mmtseg.pieces import pieces
from napari_mmtseg.reading import check_classes
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
        Pixels of each cluster, from which labels are numbered.
    classes : (K,) int64 array
        The user's class of each cluster, 0 for none.
    groups : (K,) int64 array or None
        Clusters with the same number merge before all others.
    """

    method: Method
    scaling: Scaling
    is_rgb: bool
    weights: Mapping[str, NDArray[Any]] = field(repr=False)
    colours: NDArray[np.float32] = field(repr=False)
    sizes: NDArray[np.int64] = field(repr=False)
    classes: NDArray[np.int64] = field(repr=False)
    groups: NDArray[np.int64] | None = field(default=None, repr=False)

    @property
    def n_channels(self) -> int:
        """Number of channels of the images that it takes."""
        return int(self.colours.shape[1])

    @property
    def n_clusters(self) -> int:
        """Number of clusters that the training found: the most labels it can give."""
        return len(self.sizes)

    def label_of(self, n_labels: int | None = None) -> NDArray[np.int64]:
        """Return the label of each cluster, numbered from 1 by size.

        Parameters
        ----------
        n_labels : int, optional
            Merge clusters that look alike until so many labels are left. By default the method's
            own settings decide.

        Raises
        ------
        ValueError
            If n_labels is less than 1.
        """
        if n_labels is None:
            n_labels = getattr(self.method, "n_labels", 0)
            if not np.ptp(self.colours, axis=0).any():
                n_labels = 1  # learned on a constant image, where only the border differs
        elif n_labels < 1:
            raise ValueError(f"Number of labels (n_labels) must be at least 1, got {n_labels}")
        order = merges(self.colours, self.sizes, self.classes, self.groups)
        if n_labels == 0:
            share = getattr(self.method, "explained", 1.0)
            n_labels = fewest(order, self.colours, self.sizes, self.classes, share)
        return cut(order, self.sizes, self.classes, n_labels)

    @overload
    def predict(
        self,
        image: ArrayLike,
        *,
        axes: str | None = None,
        n_labels: int | None = None,
        return_uncertainty: Literal[False] = False,
    ) -> Labels: ...
    @overload
    def predict(
        self,
        image: ArrayLike,
        *,
        axes: str | None = None,
        n_labels: int | None = None,
        return_uncertainty: Literal[True],
    ) -> tuple[Labels, Uncertainty | None]: ...
    def predict(
        self,
        image: ArrayLike,
        *,
        axes: str | None = None,
        n_labels: int | None = None,
        return_uncertainty: bool = False,
    ) -> Labels | tuple[Labels, Uncertainty | None]:
        """Label an image with what was learned; a label means the same in every image and plane.

        Parameters
        ----------
        image : array-like
            Real numbers, with the channels that the model was trained on.
        axes : str, optional
            The image's axes, such as "ZYX"; see `segment`.
        n_labels : int, optional
            Number of labels at most; see `label_of`.
        return_uncertainty : bool
            Whether to return the uncertainty as well.

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
        """
        planes = self.check(Planes(image, axes))
        label_of = self.label_of(n_labels)
        clusters = np.empty(planes.shape, np.int32)
        unsure = return_uncertainty and self.method.has_uncertainty
        uncertainty = np.empty(planes.shape, np.float32) if unsure else None
        for _ in self.fill(planes, clusters, uncertainty, label_of):
            pass
        labels = labelled(clusters, label_of, self.method)
        return (labels, uncertainty) if return_uncertainty else labels

    def with_classes(
        self,
        image: ArrayLike | Sequence[ArrayLike],
        scribbles: ArrayLike | Sequence[ArrayLike],
        *,
        axes: str | None = None,
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
        images, strokes = several(image), several(scribbles)
        if len(images) != len(strokes):
            raise ValueError(
                f"Each image needs its scribbles: got {len(images)} images and {len(strokes)} "
                "scribbles"
            )
        # A stroke inside of an object meets the clusters of its rim unless their borders are sharp.
        each = engine.regrouped(self.weights, self.method, np.arange(self.n_clusters))
        predict = engine.predictor(each, self.method)
        painted = []
        for one, its_strokes in zip(images, strokes, strict=True):
            planes = self.check(Planes(one, axes))
            strokes_of = check_classes(planes.side_image(its_strokes, "scribbles"))
            for index, plane_strokes in enumerate(strokes_of):
                if plane_strokes.any():
                    pixels, valid = self.scaling.apply(planes.plane(index))
                    painted.append((np.where(valid, predict(pixels)[0], -1), plane_strokes))
        counts, names = count_strokes(painted, self.n_clusters)
        if counts.any(axis=0).sum() < 2:
            raise ValueError("The scribbles must hold at least two classes: paint a second one")
        classes = name_clusters(counts, names, self.colours, self.sizes, self.groups)
        weights = engine.regrouped(self.weights, self.method, classes)
        return replace(self, weights=weights, classes=classes)

    def without_empty(self, sizes: NDArray[np.int64]) -> Model:
        """Return the model without the clusters of size 0, and with the other sizes given."""
        used = sizes > 0
        weights = engine.restricted(self.weights, used)
        colours, classes = self.colours[used], self.classes[used]
        groups = None if self.groups is None else self.groups[used]
        return replace(
            self,
            weights=weights,
            colours=colours,
            sizes=sizes[used],
            classes=classes,
            groups=groups,
        )

    def check(self, planes: Planes) -> Planes:
        """Return the planes, or say why the model cannot take them.

        Raises
        ------
        ValueError
            If the channels differ from those it was trained on.
        """
        kinds = {True: "RGB", False: "other"}
        if planes.n_channels != self.n_channels or planes.is_rgb != self.is_rgb:
            raise ValueError(
                f"The model was trained on images with {self.n_channels} channels "
                f"({kinds[self.is_rgb]}), got {planes.n_channels} ({kinds[planes.is_rgb]}): "
                "choose an image with the same channels, or train on this one"
            )
        return planes

    def predict_plane(self, plane: NDArray[Any], *, draft: bool = False) -> Labels:
        """Label one plane of (C, Y, X), in the image's own values.

        A draft, for a passing look, leaves out what only refines the labels.
        """
        pixels, valid = self.scaling.apply(plane)
        method = replace(self.method, **self.method.draft) if draft else self.method
        clusters, _ = engine.predictor(self.weights, method)(pixels)
        return labelled(np.where(valid, clusters, -1), self.label_of(), self.method)

    def fill(
        self,
        planes: Planes,
        clusters: NDArray[np.int32],
        uncertainty: NDArray[np.float32] | None,
        label_of: NDArray[np.int64],
    ) -> Iterator[int]:
        """Find the clusters plane by plane, yielding the index of each plane that is done.

        Pixels that are not finite get cluster -1 and uncertainty 0.
        """
        predict = engine.predictor(self.weights, self.method)
        flat = clusters.reshape(-1, *planes.shape[-2:])
        unsure = None if uncertainty is None else uncertainty.reshape(flat.shape)
        for index, plane in enumerate(planes):
            pixels, valid = self.scaling.apply(plane)
            found, doubt = predict(pixels, None if unsure is None else label_of)
            flat[index] = np.where(valid, found, -1)
            if unsure is not None and doubt is not None:
                unsure[index] = np.where(valid, doubt, 0)
            yield index

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
        saving.write(path, fields, overwrite=overwrite)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Model:
        """Read a model from a file; see `load`."""
        return load(path)


def labelled(clusters: NDArray[np.integer], label_of: NDArray[np.int64], method: Method) -> Labels:
    """Turn clusters into what the method's output asks for: their labels, or pieces of them."""
    labels = recoloured(clusters, label_of)
    return pieces(labels) if getattr(method, "output", "classes") == "regions" else labels


def recoloured(clusters: NDArray[np.integer], label_of: NDArray[np.int64]) -> Labels:
    """Turn clusters into labels; cluster -1 becomes label 0."""
    table = np.append(label_of, 0).astype(np.int32)
    labels: Labels = table[clusters]
    return labels


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
    return Model(**saving.read(path))
