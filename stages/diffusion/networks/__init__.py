"""Networks and layers that several systems share, on diffusers' classes."""
