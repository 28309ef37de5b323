"""What a store, a network or a disk refuses, in words that whoever runs Catwalk can act on."""

from __future__ import annotations

import errno
from typing import NamedTuple

from manifests.storage import redact_text
from manifests.transient import causes

# By class name: the libraries of a store are loaded only where it is used.
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
_NO_CREDENTIALS |= {"DefaultCredentialsError", "NoAuthTokenError", "ClientAuthenticationError"}
_EXPIRED = {"TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "RefreshError"}
_UNREACHABLE = {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyConnectionError"}
_UNREACHABLE |= {"ConnectionClosedError", "ClientConnectorError", "ServiceRequestError"}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class StorageFault(NamedTuple):
    """What was refused, and what to do about it."""

    error: str
    remedy: str


def storage_fault(error: BaseException) -> StorageFault | None:
    """What an exception means if storage, network or credentials are at fault; None for any other."""
    for one in causes(error):
        said = redact_text((str(one).strip() or "no message").splitlines()[0])[:300]
        if found := _judged(one, said):
            return found
    return None


def _judged(error: BaseException, said: str) -> StorageFault | None:
    name, number = type(error).__name__, getattr(error, "errno", None)
    if name in _NO_CREDENTIALS:
        remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or what your store asks for, here and "
        return StorageFault(f"no credentials for the object store: {said}", f"{remedy}on every worker")
    if name in _EXPIRED or (isinstance(error, PermissionError) and "expired" in said.lower()):
        remedy = "renew them, here and on every worker, and run again: finished clips are kept"
        return StorageFault(f"the credentials have expired: {said}", remedy)
    if name in _UNREACHABLE:
        remedy = "correct FSSPEC_S3_ENDPOINT_URL or AWS_ENDPOINT_URL, or mend the network, and run again"
        return StorageFault(f"the object store does not answer: {said}", remedy)
    if number in _FULL:
        return StorageFault(f"the disk is full: {said}", "free space, or write elsewhere; finished clips are kept")
    if number == errno.EROFS:
        return StorageFault(f"the disk is read-only: {said}", "write elsewhere, or mount it for writing")
    if isinstance(error, PermissionError):
        remedy = "give this user, and the workers, access to the file or bucket, or use other credentials"
        return StorageFault(f"access is denied: {said}", remedy)
    return None
