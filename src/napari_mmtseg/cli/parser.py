"""Declare the commands and their options; those of a method are read from its declaration."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_mmtseg.methods import METHODS, MMT
from napari_mmtseg.methods.refined_method import PRESET_OF
from napari_mmtseg.settings import Method, Setting

PROGRAM = "napari-mmtseg"
_RENAMED = {"output": "kind"}
"""Settings whose option has another name: to most people an output is a file."""
_ABOUT = "Segment microscopy images and stacks without labels and without pretrained weights."
_END = """\
exit codes: 0 all is done, 1 something failed, 2 the command was not understood

examples:
  napari-mmtseg objects nuclei.tif -o nuclei_labels.tif --table nuclei.csv
  napari-mmtseg train stack.tif -o stack.safetensors --axes ZYX --spacing 0.8 0.25 0.25
  napari-mmtseg predict other.tif --model stack.safetensors -o other_labels.tif
  napari-mmtseg batch images -o results --preset nuclei --measure

"napari-mmtseg COMMAND --help" tells of a command, "napari-mmtseg methods MMT" of every setting."""
_AXES = (
    "one letter an axis: T time, Z depth, C channel, S red-green-blue, Y row, X column, such as "
    "ZYX; by default as the file says"
)
_SPACING = "size of a pixel along (Z,) Y and X in micrometres; by default as the file says"
_IMAGE = "TIFF, OME-TIFF, PNG, or the folder of an OME-Zarr image"
_LABELS = "where the labels go: .tif (OME-TIFF) or .zarr (OME-Zarr)"


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line.

    Returns
    -------
    Namespace
        `command` and its options; `settings` holds those of the method that were given.

    Raises
    ------
    SystemExit
        With code 0 after help, with code 2 and a sentence on what was not understood.
    """
    method = _method_in(argv)
    parser = argparse.ArgumentParser(
        PROGRAM,
        description=_ABOUT,
        epilog=_END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for declare in (
        _segment,
        _objects,
        _train,
        _predict,
        _measure,
        _outlines,
        _labels,
        _batch,
        _compare,
        _methods,
        _demo,
    ):
        declare(commands, method)
    parsed = parser.parse_args(argv)
    given = vars(parsed)
    parsed.settings = {
        name.removeprefix("set:"): given.pop(name) for name in list(given) if name[:4] == "set:"
    }
    if "preset" in given:
        try:
            parsed.method = method_of(parsed, method)
        except (ValueError, TypeError) as error:
            parser.exit(2, f"{PROGRAM} {parsed.command}: {error}\n")
    return parsed


def method_of(parsed: argparse.Namespace, method: type[Method]) -> Method:
    """Return the method with its preset and settings.

    Raises
    ------
    ValueError, TypeError
        If the method has no such preset.
    """
    suited = PRESET_OF.get(parsed.settings.get("output", ""), "default")
    name = parsed.preset or (suited if suited in method.presets else "default")
    return method.preset(name, **parsed.settings)


def _method_in(argv: Sequence[str]) -> type[Method]:
    """Find out which method's options are meant, before they can be declared."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--method")
    try:
        name = first.parse_known_args(list(argv))[0].method
    except argparse.ArgumentError:  # without a value, which is said later
        name = None
    return _named(name) or MMT


def _named(name: str | None) -> type[Method] | None:
    return next((cls for key, cls in METHODS.items() if key.lower() == (name or "").lower()), None)


class _Version(argparse.Action):
    """Import the version only when it is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from napari_mmtseg._version import __version__

        print(f"{PROGRAM} {__version__}")
        parser.exit()


def _command(commands: Any, name: str, help: str, about: str = "") -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}. {about}".strip(),
        allow_abbrev=False,
    )
    told = made.add_argument_group("what is told")
    told.add_argument("-q", "--quiet", action="store_true", help="tell of errors alone")
    told.add_argument("--json", action="store_true", help="print the outcome as JSON, for programs")
    return made


def _image_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("the image, where the file does not tell or is wrong")
    group.add_argument("--axes", metavar="AXES", help=_AXES)
    group.add_argument("--spacing", metavar="UM", nargs="+", type=_length, help=_SPACING)


def _length(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"a size is a number above 0, got {text}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"it is a whole number above 0, got {text}")
    return int(text)


def _output(command: argparse.ArgumentParser, help: str, metavar: str = "FILE") -> None:
    command.add_argument("-o", "--out", type=Path, required=True, metavar=metavar, help=help)
    _may_overwrite(command)


def _may_overwrite(command: argparse.ArgumentParser, help: str = "") -> None:
    command.add_argument(
        "--overwrite", action="store_true", help=help or "replace files that are there already"
    )


def _method_options(
    command: argparse.ArgumentParser, method: type[Method], preset: str | None = None
) -> None:
    """Declare the options of a method: the basic ones with their help, the others without."""
    group = command.add_argument_group(f"the method ({PROGRAM} methods lists all)")
    names = ", ".join(METHODS)
    group.add_argument("--method", type=_known, default=method, metavar="NAME", help=names)
    presets = ", ".join(["default", *method.presets])
    group.add_argument(
        "--preset",
        default=preset,
        metavar="NAME",
        help=f"settings to begin with, of {method.title}: {presets}; by default "
        + (preset or "those that suit --kind"),
    )
    title = f"settings of {method.title} (the others: {PROGRAM} methods {method.__name__})"
    group = command.add_argument_group(title)
    for one in method.settings():
        add_setting(group, one)


def _known(name: str) -> type[Method]:
    found = _named(name)
    if found is None:
        raise argparse.ArgumentTypeError(f"it is one of {', '.join(METHODS)}, got {name}")
    return found


def add_setting(group: Any, one: Setting) -> None:
    """Declare the option of a setting."""
    options: dict[str, Any] = {"dest": f"set:{one.name}", "default": argparse.SUPPRESS}
    options["help"] = help_of(one).replace("%", "%%") if one.group == "basic" else argparse.SUPPRESS
    flag = flag_of(one)
    if one.name in _RENAMED:  # what it was called before, for scripts that are there
        named: list[str] = [flag, f"--{one.name}"]
    else:
        named = [flag]
    if one.type is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, **options)
        return
    metavar = "|".join(one.choices) or (one.unit.upper() if one.unit.isalpha() else "N")
    group.add_argument(*named, type=_Checked(one), metavar=metavar, **options)


def flag_of(one: Setting) -> str:
    """Return the option of a setting: ``--n-labels`` of ``n_labels``."""
    return f"--{_RENAMED.get(one.name, one.name).replace('_', '-')}"


def help_of(one: Setting) -> str:
    """Return what an option does, its range and its default."""
    what = [] if one.choices or one.type is bool else [f"{one.ge:g} to {one.le:g}"]
    what += [f"0 is {one.zero}"] if one.zero else []
    return f"{one.help} ({'; '.join([*what, f'by default {one.default}'])})"


class _Checked:
    """Turn the text of an option into a setting's value, checked as everywhere else."""

    def __init__(self, one: Setting) -> None:
        self._one = one

    def __call__(self, text: str) -> Any:
        value: Any = text
        if not self._one.choices:
            for kind in (int, float):
                try:
                    value = kind(text)
                    break
                except ValueError:
                    continue
        try:
            return self._one.check(value)
        except (ValueError, TypeError) as error:
            cure = ""
            if self._one.name == "output" and Path(text).suffix:
                cure = f"; where the labels go is named by -o {text}"
            raise argparse.ArgumentTypeError(f"{error}{cure}") from None


def _guides(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("beside the image")
    help = "an image of strokes, 0 where nothing is painted, otherwise a class"
    group.add_argument("--scribbles", type=Path, metavar="FILE", help=help)
    help = "an image that is 0 where pixels are left out"
    group.add_argument("--mask", type=Path, metavar="FILE", help=help)


def _whole(command: argparse.ArgumentParser) -> None:
    command.add_argument("image", type=Path, metavar="IMAGE", help=_IMAGE)
    _output(command, _LABELS)
    command.add_argument(
        "--save-model", type=Path, metavar="FILE", help="keep the model too (.safetensors)"
    )
    command.add_argument(
        "--uncertainty", type=Path, metavar="FILE", help="how far the networks disagree, .tif"
    )


def _segment(commands: Any, method: type[Method]) -> None:
    made = _command(
        commands,
        "segment",
        "train on an image and label it",
        "Labels are those that napari_mmtseg.segment gives, and the widget.",
    )
    _whole(made)
    made.set_defaults(table=None)
    _image_options(made)
    _guides(made)
    _method_options(made, method)


def _objects(commands: Any, method: type[Method]) -> None:
    made = _command(
        commands,
        "objects",
        "find nuclei, cells or grains, each with a number of its own",
        "It is segment with the preset nuclei; background is 0.",
    )
    _whole(made)
    made.add_argument(
        "--table", type=Path, metavar="FILE", help="measure them, into a .csv or .parquet"
    )
    _image_options(made)
    _guides(made)
    _method_options(made, method, "nuclei" if "nuclei" in method.presets else "default")


def _train(commands: Any, method: type[Method]) -> None:
    made = _command(
        commands,
        "train",
        "train on one image or several, and keep the model",
        "Several images must have the same axes and channels.",
    )
    made.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help=_IMAGE)
    _output(made, "where the model goes; by custom .safetensors")
    _image_options(made)
    _guides(made)
    _method_options(made, method)


def _predict(commands: Any, method: type[Method]) -> None:
    made = _command(commands, "predict", "label an image with a model, without training")
    made.add_argument("image", type=Path, metavar="IMAGE", help=_IMAGE)
    made.add_argument("--model", type=Path, required=True, metavar="FILE", help="of train")
    _output(made, _LABELS)
    made.add_argument(
        "--n-labels", type=_count, metavar="N", help="merge labels until so many are left"
    )
    made.add_argument("--uncertainty", type=Path, metavar="FILE", help="as of segment")
    made.add_argument("--mask", type=Path, metavar="FILE", help="as of segment")
    made.add_argument("--scheduler", metavar="ADDRESS", help="of a dask cluster: tiles go there")
    _image_options(made)


def _measure(commands: Any, method: type[Method]) -> None:
    made = _command(commands, "measure", "measure each object of a label image")
    made.add_argument("labels", type=Path, metavar="LABELS", help="whole numbers, 0 is background")
    made.add_argument("--image", type=Path, metavar="IMAGE", help="measure its intensities too")
    _output(made, "where the table goes: .csv or .parquet")
    made.add_argument(
        "--by-plane", action=argparse.BooleanOptionalAction, help="take each plane for itself"
    )
    _image_options(made)


def _outlines(commands: Any, method: type[Method]) -> None:
    made = _command(
        commands,
        "outlines",
        "write the outlines of labels, for Fiji or QuPath",
        "Outlines run along the edges of pixels; each has the id of its object as its name.",
    )
    made.add_argument("labels", type=Path, metavar="LABELS", help="whole numbers, 0 is background")
    _output(made, "where the outlines go: .zip (ImageJ ROIs) or .geojson (QuPath)")
    _image_options(made)


def _labels(commands: Any, method: type[Method]) -> None:
    made = _command(
        commands,
        "labels",
        "make labels of outlines that were drawn in Fiji or QuPath",
        "Pixels whose centres lie inside an outline have its name, if that is a whole number.",
    )
    made.add_argument("outlines", type=Path, metavar="OUTLINES", help=".roi, .zip or .geojson")
    help = "the image that they were drawn on: it tells the size and the axes"
    made.add_argument("--image", type=Path, required=True, metavar="IMAGE", help=help)
    help = "what a pixel measures in the outlines' own units; by default they count pixels"
    made.add_argument("--pixel-size", type=_length, default=1.0, metavar="SIZE", help=help)
    _output(made, "where the labels go: .tif (OME-TIFF)")
    _image_options(made)


def _batch(commands: Any, method: type[Method]) -> None:
    made = _command(
        commands,
        "batch",
        "do a folder of images",
        "One model for all is trained on a sample of them, unless --model or --each says otherwise."
        " Run again, it does what is missing or has changed. A file that fails leaves the others "
        "alone. batch.csv holds the settings, measures and versions of every file.",
    )
    made.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="images, folders of images, or patterns in quotes such as 'data/**/*.tif'",
    )
    help = "folder of the results; by default each lies beside its image"
    made.add_argument("-o", "--out", type=Path, metavar="FOLDER", help=help)
    _may_overwrite(made, "replace results of other settings, and files that are no results")
    made.add_argument("--measure", action="store_true", help="a table of the objects of each image")
    which = made.add_mutually_exclusive_group()
    which.add_argument("--model", type=Path, metavar="FILE", help="label all with this model")
    which.add_argument("--each", action="store_true", help="train on each image by itself")
    made.add_argument(
        "--sample", type=_count, default=8, metavar="N", help="train on so many images (8)"
    )
    made.add_argument(
        "--workers", type=_count, metavar="N", help="processes; by default one a processor"
    )
    made.add_argument("--scheduler", metavar="ADDRESS", help="of a dask cluster: images go there")
    _image_options(made)
    _method_options(made, method)


def _compare(commands: Any, method: type[Method]) -> None:
    made = _command(commands, "compare", "score labels against a ground truth")
    made.add_argument("labels", type=Path, metavar="LABELS", help="the labels to score")
    made.add_argument("truth", type=Path, metavar="TRUTH", help="the labels that are right")
    made.add_argument(
        "--objects", action="store_true", help="as objects, matched one to one; 0 is background"
    )
    _image_options(made)


def _methods(commands: Any, method: type[Method]) -> None:
    made = _command(commands, "methods", "list the methods, or all settings of one")
    made.add_argument("method", nargs="?", type=_known, metavar="NAME", help=", ".join(METHODS))


def _demo(commands: Any, method: type[Method]) -> None:
    made = _command(
        commands,
        "demo",
        "find the nuclei of a generated stack, and score them",
        "It needs neither data nor a window; the files can be opened in napari or Fiji.",
    )
    _output(made, "folder to put the stack, its truth and the labels into", "FOLDER")
