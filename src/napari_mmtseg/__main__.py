"""Run the command line: ``python -m napari_mmtseg``."""

import sys

from napari_mmtseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
