"""DreamPose: a fine-tuned image model that is shown five DensePose frames for each frame it makes."""
