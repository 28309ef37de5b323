"""Hostile input: rows and files, damaged on purpose by those who know how they are built, and what becomes of them."""
