"""Reading media, fitting images, encoding films."""
