"""MagicAnimate: DensePose ControlNet, an appearance encoder read at every timestep, temporal modules."""
