"""A page that is whole in itself: no script, style, font or request but its own, and a policy that says so."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light; --ink: #1c1f24; --faint: #5b616b; --line: #d9dce1; --good: #2a7d3f; --bad: #b3261e; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; } td, th { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; }
"""


def document(
    title: str, body: str, style: str, script: str = "", data: Any = None, origins: Collection[str] = ()
) -> str:
    """The whole page: `body` is HTML, `style` follows what all pages share.

    `data` is JSON that the `script` finds in the element `data`. Pictures and films may come from beside the page, from
    this machine, from the page itself, and from `origins` ("https://host").
    """
    style = STYLE + style
    sources = " ".join(["'self'", "file:", "data:", *sorted(origins)])
    policy = [
        "default-src 'none'",
        f"img-src {sources}",
        f"media-src {sources}",
        f"style-src {_digest(style)}",
        f"script-src {_digest(script)}",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape("; ".join(policy))}">',
        '<meta name="referrer" content="no-referrer">',  # addresses may be secrets
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style>",
    ]
    parts = ["<!doctype html>", f'<html lang="en"><head>{"".join(head)}</head>', "<body>", body]
    if script:
        parts.append(f'<script type="application/json" id="data">{_json(data)}</script>')
        parts.append(f"<script>{script}</script>")
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(data: Any) -> str:
    """JSON that ends no script element and opens no comment in it; a lone surrogate stays an escape."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return text.encode("utf-8", "backslashreplace").decode()
