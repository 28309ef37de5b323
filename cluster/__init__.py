"""How a command reaches a cluster, and what a cluster can give. Knows nothing of what the command does."""
