"""Write the sections that the docstrings of all metrics share."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Any, TypeVar

Metric = TypeVar("Metric", bound=Callable[..., Any])


def metric(returns: str, **parameters: str) -> Callable[[Metric], Metric]:
    """Complete a docstring with its numpydoc sections; what all metrics share stands here once."""
    shared = {
        "labels": "array_like of int or bool, any shape\n    The image to judge; a pixel or more.",
        "truth": "array_like of int or bool, the shape of `labels`\n    The image to judge it by.",
    }
    entries = (f"{name} : {text}" for name, text in {**shared, **parameters}.items())
    raises = "ValueError\n    If shapes differ, or an image is empty or does not hold integers."

    def complete(function: Metric) -> Metric:
        returned = f"{function.__annotations__['return']}\n    {returns}"
        sections = {"Parameters": "\n".join(entries), "Returns": returned, "Raises": raises}
        parts = [f"{title}\n{'-' * len(title)}\n{text}" for title, text in sections.items()]
        function.__doc__ = "\n\n".join([cleandoc(function.__doc__ or ""), *parts])
        return function

    return complete
