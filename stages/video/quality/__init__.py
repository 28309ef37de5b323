"""Metrics of films that need no weights: one noun each, fed frame by frame, in memory that does not grow with it."""
