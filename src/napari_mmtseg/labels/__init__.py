"""Finished labels: pieces, objects and their measures; numpy alone."""
