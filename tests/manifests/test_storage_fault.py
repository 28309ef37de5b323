"""What storage refuses is told with a remedy that fits: never 'write the file again' for an expired token."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from manifests import storage
from manifests.storage_fault import storage_fault
from pipelines import cli


def named(name: str, text: str = "it says") -> Exception:
    """An exception of a library that need not be installed, as its class is called."""
    return type(name, (Exception,), {})(text)


FAULTS = [
    (named("NoCredentialsError"), "no credentials", "AWS_PROFILE"),
    (named("DefaultCredentialsError"), "no credentials", "here and on every worker"),
    (PermissionError("The provided token has expired."), "have expired", "renew them"),
    (named("UnauthorizedSSOTokenError"), "have expired", "renew them"),
    (named("EndpointConnectionError"), "does not answer", "FSSPEC_S3_ENDPOINT_URL"),
    (named("ReadTimeoutError"), "does not answer", "mend the network"),
    (OSError(errno.ENOSPC, "No space left on device"), "the disk is full", "free space"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full", "free space"),
    (OSError(errno.EROFS, "Read-only file system"), "read-only", "write elsewhere"),
    (PermissionError("Access Denied"), "access is denied", "give this user"),
]


@pytest.mark.parametrize(("error", "said", "remedy"), FAULTS, ids=lambda value: str(value)[:40])
def test_every_refusal_has_its_own_remedy(error: Exception, said: str, remedy: str) -> None:
    fault = storage_fault(error)
    assert fault is not None
    assert said in fault.error
    assert remedy in fault.remedy


def test_a_refusal_behind_another_exception_is_found() -> None:
    error = OSError("cannot open")
    error.__cause__ = named("NoCredentialsError")
    fault = storage_fault(error)
    assert fault is not None
    assert fault.error.startswith("no credentials")


@pytest.mark.parametrize("error", [ValueError("expired"), FileNotFoundError("no such file"), OSError(errno.EIO, "io")])
def test_what_is_no_refusal_is_left_to_others(error: Exception) -> None:
    assert storage_fault(error) is None


def test_no_secret_is_shown() -> None:
    fault = storage_fault(named("EndpointConnectionError", "s3://KEY:hunter2@bucket/a?token=hunter2 is away"))
    assert "hunter2" not in fault.error


@pytest.fixture
def forgetful_s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """S3 as the environment then says: no file system is remembered."""
    import fsspec
    import s3fs

    yield monkeypatch
    monkeypatch.undo()
    s3fs.S3FileSystem.clear_instance_cache()
    fsspec.config.set_conf_env(fsspec.config.conf)


def reread() -> None:
    import fsspec
    import s3fs

    fsspec.config.set_conf_env(fsspec.config.conf)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    "command", [["animate", "s3://bucket/m.parquet", "out"], ["manifest", "check", "s3://b/m.parquet"]]
)
def test_a_command_without_credentials_or_endpoint_ends_with_a_remedy(
    command: list[str], forgetful_s3: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        forgetful_s3.delenv(variable)
    forgetful_s3.setenv("AWS_EC2_METADATA_DISABLED", "true")
    reread()
    assert cli.main(command) in (cli.BROKE_OFF, cli.WRONG_USAGE)
    assert "no credentials for the object store" in capsys.readouterr().err
    forgetful_s3.setenv("AWS_ACCESS_KEY_ID", "test")
    forgetful_s3.setenv("AWS_SECRET_ACCESS_KEY", "test")
    forgetful_s3.setenv("FSSPEC_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    forgetful_s3.setenv("AWS_MAX_ATTEMPTS", "1")
    reread()
    assert cli.main(command) in (cli.BROKE_OFF, cli.WRONG_USAGE)
    assert "the object store does not answer" in capsys.readouterr().err


def test_an_expired_token_is_not_taken_for_a_damaged_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("The provided token has expired.")

    monkeypatch.setattr(storage, "fetch", refused)
    monkeypatch.setattr(storage, "expand", lambda uri: [uri])
    assert cli.main(["manifest", "check", "s3://bucket/m.parquet"]) != cli.OK
    said = capsys.readouterr().err
    assert "the credentials have expired" in said
    assert "write the file again" not in said
