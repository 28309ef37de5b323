"""Published code that the product does without, kept so that its recordings stay reproduced."""
