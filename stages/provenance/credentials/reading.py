"""What a file's credentials say, and whether they hold: for the reading processes of the sandbox."""

from __future__ import annotations

from typing import Any

# Nothing that a file names is fetched.
OFFLINE: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}}
