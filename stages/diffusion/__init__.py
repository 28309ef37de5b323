"""The animators: the seam that stages see, a room for each system, and what systems share."""

import logging

# diffusers imports it where it is installed, and it warns of kernels of its own that do not load: torch's are used
logging.getLogger("xformers").setLevel(logging.ERROR)
