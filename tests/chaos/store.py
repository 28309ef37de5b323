"""Where a night's films go: a folder, or S3 over HTTP behind a proxy that fails."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import fsspec

from tests.made.faulty_proxy import faulty_proxy


@dataclass(frozen=True)
class Store:
    """`output` is what the command is told; `place` is the same as `fs` names it, which no fault reaches."""

    output: str
    fs: fsspec.AbstractFileSystem
    place: str
    environment: Mapping[str, str] = field(default_factory=dict)  # of the command and of all workers
    faults: Counter[str] = field(default_factory=Counter)  # what was done to requests so far, and "requests"

    def read(self, *parts: str) -> bytes:
        """The bytes of a file in the output."""
        return self.fs.cat_file("/".join([self.place, *parts]))

    def versions(self) -> dict[str, list[bytes]]:
        """Everything that was ever put under the name of a film, where the store keeps it."""
        return {}


class VersionedStore(Store):
    """A bucket that keeps what is written over."""

    def versions(self) -> dict[str, list[bytes]]:
        bucket, _, prefix = self.place.partition("/")
        found: dict[str, list[bytes]] = {}
        pages = _client(self.fs.endpoint_url).get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=bucket, Prefix=f"{prefix}/films/"):
            for one in page.get("Versions", []):
                body = _client(self.fs.endpoint_url).get_object(
                    Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"]
                )
                found.setdefault(one["Key"].rpartition("/")[2], []).append(body["Body"].read())
        return found


@contextmanager
def folder_store(folder: Path) -> Iterator[Store]:
    """A folder of this machine."""
    yield Store(str(folder), fsspec.filesystem("file"), str(folder))


@contextmanager
def s3_store(share: float, seed: int = 0, stall_seconds: float = 5.0) -> Iterator[Store]:
    """moto's server over HTTP; `share` of the requests fail or stall on their way to it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        with faulty_proxy(endpoint, share, seed=seed, stall_seconds=stall_seconds) as proxy:
            environment = {**_CREDENTIALS, "FSSPEC_S3_ENDPOINT_URL": proxy.endpoint}
            client = _client(endpoint)
            client.create_bucket(Bucket="night")
            client.put_bucket_versioning(Bucket="night", VersioningConfiguration={"Status": "Enabled"})
            keys = {"key": "test", "secret": "test"}
            fs = fsspec.filesystem(
                "s3", endpoint_url=endpoint, use_listings_cache=False, skip_instance_cache=True, **keys
            )
            yield VersionedStore("s3://night/out", fs, "night/out", environment, proxy.done)
    finally:
        server.stop()


_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
}


def _client(endpoint: str):  # noqa: ANN202
    import boto3

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=endpoint, **keys)
