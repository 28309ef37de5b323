"""Every URI of the system is read, written, named and judged here.

A URI is a plain local path, `file:///…` (not percent-encoded), or an object of a store that fsspec knows: `s3://`,
`gs://`, `az://`, `abfs://`. Endpoints and credentials come from the environment or fsspec's own configuration
(`FSSPEC_S3_ENDPOINT_URL`), never from a URI. What is published appears whole or not at all, and nothing is answered
from a cache of listings: other machines write into the same folders. What fails in passing is tried again.
"""

from manifests.storage.folders import Upload, Written, abandon, expand, listing, subfolders, uploads, written_files
from manifests.storage.publishing import (
    UNFINISHED,
    copy,
    create_exclusive,
    delete,
    delete_empty,
    publish,
    publish_bytes,
    publish_json,
)
from manifests.storage.reading import (
    CHUNK,
    Stamp,
    digest,
    exists,
    fetch,
    fetch_copy,
    is_folder,
    read_bytes,
    read_json,
    sha256_file,
    sha256_text,
    stamp,
    written,
)
from manifests.storage.redaction import redact, redact_text
from manifests.storage.schemes import EXTRAS
from manifests.storage.stores import arrow_filesystem, signed
from manifests.storage.uris import Allowed, is_local, join, local_path, name, parent, resolve

__all__ = [
    "CHUNK",
    "EXTRAS",
    "UNFINISHED",
    "Allowed",
    "Stamp",
    "Upload",
    "Written",
    "abandon",
    "arrow_filesystem",
    "copy",
    "create_exclusive",
    "delete",
    "delete_empty",
    "digest",
    "exists",
    "expand",
    "fetch",
    "fetch_copy",
    "is_folder",
    "is_local",
    "join",
    "listing",
    "local_path",
    "name",
    "parent",
    "publish",
    "publish_bytes",
    "publish_json",
    "read_bytes",
    "read_json",
    "redact",
    "redact_text",
    "resolve",
    "sha256_file",
    "sha256_text",
    "signed",
    "stamp",
    "subfolders",
    "uploads",
    "written",
    "written_files",
]
