"""A real S3 server on this machine's loopback, for promises about object stores."""

import os
from collections.abc import Iterator
from copy import deepcopy
from uuid import uuid4

import pytest


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """moto's server over HTTP; fsspec and boto in this process, and in every one started from it, talk to it alone.

    A Ray cluster that is already up does not see it: ask for `s3` before `ray.init`.
    """
    server_module = pytest.importorskip("moto.server", reason="needs moto[server], from the extra 'dev'")
    import fsspec
    import s3fs

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    conf = deepcopy(fsspec.config.conf)
    with pytest.MonkeyPatch.context() as environment:
        for variable, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "FSSPEC_S3_ENDPOINT_URL": endpoint,
            "NO_PROXY": f"{host},{os.environ.get('NO_PROXY', '')}",
        }.items():
            environment.setenv(variable, value)
        for variable in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            environment.delenv(variable, raising=False)
        # fsspec read the environment when it was imported, and instances made since may point elsewhere.
        fsspec.config.set_conf_env(fsspec.config.conf)
        s3fs.S3FileSystem.clear_instance_cache()
        yield endpoint
    fsspec.config.conf.clear()
    fsspec.config.conf.update(conf)
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def s3(s3_endpoint: str) -> str:
    """The URI of a fresh, empty bucket."""
    import boto3

    bucket = f"catwalk-{uuid4().hex[:12]}"
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket=bucket)
    return f"s3://{bucket}"
