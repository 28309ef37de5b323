"""Text2Video-Zero: an image model whose frames attend to the first one; skeletons by ControlNet, or a prompt alone."""
