"""URIs and texts as they may stand in messages, tables and logs: without what is secret in them."""

import re

from manifests.storage.schemes import EXTRAS, SCHEME

# The scheme is bounded, or a long word would be searched once from each of its letters.
_URI_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}://\S*")
_QUOTED_QUERY = re.compile("%3f|%23", re.IGNORECASE)  # '?' and '#' of a URI that became a part of another's path
# What stands behind these names and '=' or ':' is a secret in JSON, Python, a configuration or a header. Those behind
# which prose has such signs as well need '=' without a space, quotes around them, or a query to stand in.
_QUOTE = r"\\{0,4}['\"]"
_PLAIN_NAME = (
    r"AccountKey|(?:X-Amz|X-Goog)-[A-Za-z-]{0,24}(?:Token|Credential|Signature|Key)|passw(?:or)?d|x-api-key|api_?key"
    r"|secret_?(?:access_?)?key|(?:client|api|app)_?secret"
    r"|(?:session|security|access|refresh|auth|bearer|api|hf|id)_?token"
)
_AMBIGUOUS_NAME = (
    r"Shared[A-Za-z]{0,16}|(?:X-Amz|X-Goog)-[A-Za-z-]{1,24}|AWSAccessKeyId|Signature|secret_[a-z_]{1,24}"
    r"|(?:[a-z]{1,16}_)?token|secret"
)
_SECRET = re.compile(
    rf"((?<![A-Za-z0-9])(?:(?:{_PLAIN_NAME})(?:{_QUOTE})?[ \t]*[:=][ \t]*(?:b?{_QUOTE})?"
    rf"|(?:{_AMBIGUOUS_NAME})=(?:{_QUOTE})?)"
    rf"|{_QUOTE}(?:token|secret|signature|sig){_QUOTE}[ \t]*:[ \t]*{_QUOTE}|(?:[?&;]|%3F|%26)sig="
    rf"|\bAuthorization(?:{_QUOTE})?[ \t]*[:=][ \t]*(?:b?{_QUOTE})?(?:[A-Za-z0-9-]{{1,32}}[ \t]+)?"
    r"|\bBearer[ \t]+(?=\S{8})|\bBasic[ \t]+(?=[A-Za-z0-9+/]{6,400}=|[A-Za-z0-9+/]{16})|\bhf_(?=[A-Za-z0-9]{16}))"
    r"[^\s&;,'\"<>\\]+",
    re.IGNORECASE,
)


def redact(uri: str) -> str:
    """The URI as it may stand in messages and tables: without credentials, query and fragment."""
    match = SCHEME.fullmatch(uri)
    scheme, rest = match.groups() if match else ("", uri)
    if scheme == "file" or uri.startswith("/"):
        return uri  # '?' and '#' are letters of a local file's name
    authority = rest.partition("/")[0]
    if ":" in authority:
        rest = rest.rpartition("@")[2]  # to the last '@': AWS secrets contain '/'
    elif scheme and EXTRAS.get(scheme) != "azure":  # abfs://container@account is a place, no secret
        rest = authority.rpartition("@")[2] + rest[len(authority) :]
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    return f"{scheme}://{rest}" if match else rest


def redact_text(text: str) -> str:
    """Any text with the URIs in it redacted, also those whose '?' a client has put into its own request's path.

    What stores' clients call a secret goes too, wherever it stands: signatures, keys of connection strings, tokens.
    """
    text = _URI_IN_TEXT.sub(lambda found: _QUOTED_QUERY.split(redact(found[0]), maxsplit=1)[0], text)
    return _SECRET.sub(r"\1…", text)
