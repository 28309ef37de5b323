"""Promises about YAML files: whatever stands in one, what is wrong with it is said in words, and soon."""

from pathlib import Path

import pytest

from manifests.errors import WrongUsage
from manifests.yaml_file import MOST_BYTES, read_yaml
from pipelines.configuration import RunConfig

ALIASES = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[" * 3000 + b"]" * 3000, "recursion"),
        ("\n".join(" " * depth + "a:" for depth in range(1200)).encode(), "recursion"),
        (b"attempts: " + b"9" * 5000, "digits"),
        (b"limits: {bytes: " + b"9" * 4000 + b"}", "limits.bytes is no number of at most 64 bits"),
        (b"attempts: " + b":".join([b"59"] * 3000), "attempts is no number of at most 64 bits"),
        (b"idle_seconds: .inf", "idle_seconds is no number"),
        (b"price: {gpu_hour: .nan}", "price.gpu_hour is no number"),
        (b"allowed_prefixes: [a, 1.0e+999]", "allowed_prefixes is no number"),
        (b"attempts: 3\nattempts: 1", "'attempts' stands twice"),
        (b"limits: {bytes: 1, bytes: 2}", "'bytes' stands twice"),
        (b"attempts: 2001-13-01T00:00:00Z", "month"),
        (b"a: !!python/object/apply:os.system [id]", "constructor for the tag"),
        (b"\xff\xfe", "utf-8"),
        (b"a: \0", "special characters"),
        (b"- a", "holds no mapping"),
        (b"a: " + b"x" * MOST_BYTES, "more than 1,048,576 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "night.yaml").write_bytes(text)
    with pytest.raises(WrongUsage, match=said) as refused:
        RunConfig.load(tmp_path / "night.yaml")
    assert str(refused.value).startswith(f"configuration {tmp_path / 'night.yaml'}: ")


def test_aliases_are_looked_at_once(tmp_path: Path) -> None:
    (tmp_path / "night.yaml").write_text("a0: &a0 [1, 2]\n" + ALIASES)
    assert read_yaml(tmp_path / "night.yaml", "configuration")["a0"] == [
        1,
        2,
    ]  # and not 9^29 numbers


def test_keys_may_be_merged_and_said_again_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("one: &one {size: 1, num_cpus: 2}\ntwo: {<<: *one, size: 3}\nsize: 4")
    assert read_yaml(tmp_path / "a.yaml", "a")["two"] == {"size": 3, "num_cpus": 2}
    (tmp_path / "a.yaml").write_text("")
    assert read_yaml(tmp_path / "a.yaml", "a") == {}
