"""Content credentials after C2PA: what they claim of a film, by which key they are signed, and how they are read."""
