"""Pose sequences: read from driving media, stored once per driving video, fitted to a clip."""
