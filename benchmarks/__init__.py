"""Measure segmentation methods on images with ground truth; apart from the installed package."""
