"""Labels out: OME-Zarr, TIFF, and what an interrupted writing goes on from."""
