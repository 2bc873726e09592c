"""Labels that come as one looks: planes, and tiles of large planes."""
