"""How good labels are: scores on images with ground truth."""
