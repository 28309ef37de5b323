"""Azurite, Microsoft's own emulator of Azure's blobs, on this machine's loopback; without it tests skip.

`npm install azurite` anywhere, and its `node_modules/.bin` on PATH, or CATWALK_AZURITE=…/.bin/azurite-blob.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

ACCOUNT = "devstoreaccount1"
# the same in every emulator, and printed in its manual
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def connection(endpoint: str) -> str:
    """What clients are told of an emulator at http://host:port, or of a proxy before it."""
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}/{ACCOUNT};"


@pytest.fixture(scope="session")
def azure_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """http://host:port of a running emulator; adlfs in this process, and in those started from it, talks to it."""
    command = os.environ.get("CATWALK_AZURITE") or shutil.which("azurite-blob")
    if command is None:
        pytest.skip("needs Azurite: npm install azurite")
    adlfs = pytest.importorskip("adlfs", reason="needs adlfs, from the extra 'azure'")
    folder = tmp_path_factory.mktemp("azurite")
    said = folder / "said.txt"
    options = ["--skipApiVersionCheck", "--disableTelemetry", "--silent", "--location", str(folder), "--blobPort", "0"]
    with said.open("wb") as log:
        server = subprocess.Popen([command, *options], stdout=log, stderr=log)
    with pytest.MonkeyPatch.context() as environment:
        try:
            endpoint = _listening(said, server)
            environment.setenv("AZURE_STORAGE_CONNECTION_STRING", connection(endpoint))
            environment.setenv("NO_PROXY", f"127.0.0.1,{os.environ.get('NO_PROXY', '')}")
            adlfs.AzureBlobFileSystem.clear_instance_cache()
            yield endpoint
        finally:
            adlfs.AzureBlobFileSystem.clear_instance_cache()
            server.kill()
            server.wait()


def _listening(said: Path, server: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 60
    while not (found := re.search(r"listens on (http://\S+)", said.read_text())):
        if server.poll() is not None or time.monotonic() > until:
            pytest.fail(f"Azurite did not start: {said.read_text()}")
        time.sleep(0.1)
    return found[1]


@pytest.fixture
def azure(azure_endpoint: str) -> str:
    """The URI of a fresh, empty container."""
    from azure.storage.blob import BlobServiceClient

    container = f"catwalk-{uuid4().hex[:12]}"
    BlobServiceClient.from_connection_string(connection(azure_endpoint)).create_container(container)
    return f"az://{container}"
