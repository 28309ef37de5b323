"""Wan-Animate (Wan2.2-Animate-14B)."""
