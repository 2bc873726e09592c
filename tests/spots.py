"""Where the discs of the image `spots` are."""

BRIGHT, DARK = [(18, 20), (18, 60), (50, 20), (50, 60)], [(34, 40), (66, 80), (34, 80)]
