"""How a URI begins, and what of our package reads it."""

import re

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure", "abfs": "azure"}  # scheme: extra of our package that reads it
