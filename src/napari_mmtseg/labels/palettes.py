"""Colours of labels that the colour-blind tell apart.

Where there are more labels than colours, these come again lighter, and then darker: everybody sees
how light a colour is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PALETTES = {
    "Okabe-Ito": "#E69F00 #56B4E9 #009E73 #F0E442 #0072B2 #D55E00 #CC79A7",
    "Tol": "#CC6677 #332288 #DDCC77 #117733 #88CCEE #882255 #44AA99 #999933 #AA4499",
}
"""Okabe and Ito, "Color Universal Design", 2008, without black, which dark images have already;
Tol, "Colour Schemes", SRON/EPS/TN/09-002, 2021, "muted"."""
_LIGHTER, _DARKER = 0.5, 0.45


def colours_of(palette: str) -> NDArray[np.float32]:
    """Return the colours of a palette for labels from 1 on, (3 N, 4), red, green, blue, opacity.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if palette not in PALETTES:
        raise ValueError(f"The palette must be one of {', '.join(PALETTES)}, got {palette!r}")
    digits = [one.removeprefix("#") for one in PALETTES[palette].split()]
    own = np.array([[int(one[i : i + 2], 16) for i in (0, 2, 4)] for one in digits]) / 255
    every = np.concatenate([own, own + _LIGHTER * (1 - own), own * (1 - _DARKER)])
    return np.column_stack([every, np.ones(len(every))]).astype(np.float32)
