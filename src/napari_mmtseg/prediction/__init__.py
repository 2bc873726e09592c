"""From a model and an image to labels: tiles, whole, lazy, on a cluster, objects, label table."""
