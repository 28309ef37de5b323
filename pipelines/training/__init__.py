"""How the bundled animator `studio` is trained, from procedurally drawn people to the weights in `stages/bundled`."""
