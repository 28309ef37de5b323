"""From noise to latents: windows, noise, schedulers, the denoising loop."""
