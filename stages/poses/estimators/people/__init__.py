"""Real people, by MediaPipe's nets: a detector, a body net, hands and faces, and what follows them through a film."""
