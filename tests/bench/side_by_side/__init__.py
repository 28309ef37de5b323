"""The frozen baseline, diffusers' nearest pipeline and the product beside each other, on the same random weights."""
