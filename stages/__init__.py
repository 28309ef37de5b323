"""What is done to a clip, one thin class per stage. Nothing below this package imports Ray."""
