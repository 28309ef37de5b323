"""What is done to a clip, one thin class per stage. Nothing in this package imports Ray."""
