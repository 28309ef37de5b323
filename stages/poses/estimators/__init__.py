"""Networks that find people and their poses in pictures."""
