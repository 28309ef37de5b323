"""Pose sequences: read or estimated once per driving file, then followed, repaired, fitted and drawn for a clip."""
