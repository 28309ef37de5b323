"""How the bundled animator `drawn` is trained, from procedurally drawn people to the weights in `stages/bundled`."""
