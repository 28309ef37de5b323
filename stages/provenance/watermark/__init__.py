"""A keyed, invisible mark in a film's pictures that carries a 64-bit id, and its detector."""
