"""A night while it goes on: its rows and workers, who may drive it, when it ends, and its record."""
