"""Which errors of stores, networks and mounts pass by themselves, and which come again at every try."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any, cast

# By class name: the libraries of a store are loaded only where it is used.
_PASSES = {
    # botocore, aiobotocore, s3fs
    "HTTPClientError", "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError",
    "ProxyConnectionError", "ResponseStreamingError", "IncompleteReadError", "ResponseParserError",
    # aiohttp, urllib3, requests
    "ClientPayloadError", "ClientOSError", "ClientConnectorError", "ServerDisconnectedError", "ServerTimeoutError",
    "IncompleteRead", "ProtocolError", "ChunkedEncodingError", "ProxyError", "ContentLengthError",
    # azure-core, gcsfs, fsspec
    "ServiceRequestError", "ServiceResponseError", "ServiceRequestTimeoutError", "ServiceResponseTimeoutError",
    "ChecksumError", "TransportError", "FSTimeoutError",
}  # fmt: skip
_COMES_AGAIN = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "DefaultCredentialsError",
                "NoAuthTokenError", "ClientAuthenticationError", "TokenRetrievalError", "SSOTokenLoadError",
                "UnauthorizedSSOTokenError", "RefreshError", "ParamValidationError", "ClientConnectorCertificateError",
                "SSLError"}  # fmt: skip
# What a store says in words goes before its status: a body cut short on its way up is a 400.
_CODES = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "ServerBusy", "RequestTimeout",
          "InternalError", "ServiceUnavailable", "OperationTimedOut", "IncompleteBody", "BadDigest",
          "XAmzContentSHA256Mismatch", "ConditionalRequestConflict", "OperationAborted"}  # fmt: skip
_STATUS_OF = {"HttpError": "code", "ClientResponseError": "status"}  # of gcsfs, aiohttp; elsewhere `status_code`
_STATUSES = {408, 425, 429, 500, 502, 503, 504, 509}
# A network mount's: the server came back under another handle, the wire broke, the answer took too long.
_ERRNOS = {errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED}
_ERRNOS |= {errno.EPIPE, errno.EAGAIN, errno.EINTR, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET}
_ERRNOS |= {errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EREMOTEIO}


class Truncated(OSError):
    """Fewer bytes were read or stored than there are."""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may well succeed a moment later: time-outs, resets, 429, 5xx, bodies cut short.

    Not: what is absent, denied or taken, missing or expired credentials, other 4xx, a full or read-only disk, and what
    nobody foresaw.
    """
    # libraries wrap a store's answer in errors that say less; what was being handled meanwhile is another call's
    for one in causes(error, explicit=True):
        if (verdict := _by_status(one)) is not None:
            return verdict
    return next((verdict for one in causes(error) if (verdict := _by_kind(one)) is not None), False)


def _by_status(error: BaseException) -> bool | None:
    response: Any = getattr(error, "response", None)
    said, status = str(getattr(error, "error_code", None) or ""), None
    if isinstance(response, dict):  # botocore.exceptions.ClientError
        said = str(response.get("Error", {}).get("Code", ""))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(error, _STATUS_OF.get(type(error).__name__, "status_code"), None)
    if said in _CODES:
        return True
    try:
        number = int(cast(Any, status))  # gcsfs has some as text
    except (TypeError, ValueError):
        return None
    return number in _STATUSES if number >= 300 else None


def _by_kind(error: BaseException) -> bool | None:
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _COMES_AGAIN or isinstance(error, (FileNotFoundError, FileExistsError, PermissionError)):
        return False
    if names & _PASSES or isinstance(error, (Truncated, TimeoutError, ConnectionError)):
        return True
    number = getattr(error, "errno", None)
    return True if number in _ERRNOS else None


def causes(error: BaseException, explicit: bool = False) -> Iterator[BaseException]:
    """The exception and what caused it, the outermost first; unless `explicit`, also what was handled meanwhile."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if explicit else one.__context__)
