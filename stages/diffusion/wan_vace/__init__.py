"""Wan-VACE (Wan2.1-VACE-1.3B and 14B)."""
