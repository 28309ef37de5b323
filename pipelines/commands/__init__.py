"""The commands of `catwalk`, by what they are about."""
