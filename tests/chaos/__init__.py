"""Whether a night survives: a cluster of several nodes on this machine, and somebody who breaks it meanwhile."""
