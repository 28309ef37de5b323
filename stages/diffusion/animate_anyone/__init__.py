"""Animate Anyone, as published by Moore Threads: reference attention, pose guider, temporal modules."""
