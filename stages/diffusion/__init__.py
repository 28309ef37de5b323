"""The animators: the seam that stages see, a room for each system, and what systems share."""
