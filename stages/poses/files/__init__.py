"""Pose sequences in files: those that users hand in, and those that we store."""
