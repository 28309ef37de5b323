"""The animators and the denoising library, on torch and diffusers."""
