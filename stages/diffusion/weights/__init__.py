"""Reading checkpoints and LoRA files: published names and layouts, nothing trusted."""
