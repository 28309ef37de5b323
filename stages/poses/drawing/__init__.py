"""Keypoints as the pictures that animators were trained on."""
