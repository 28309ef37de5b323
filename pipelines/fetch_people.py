"""`catwalk models fetch people`: MediaPipe's nets, out of its wheel, which is never installed.

    python -m pipelines.fetch_people     # as `make setup` does: in one line, and never a failure

The wheel is fetched by pip, wherever that is configured to look. It is one and the same for all machines: the nets in
it are plain data, and its releases for some platforms and Pythons are missing.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from manifests import storage
from manifests.errors import Problem
from manifests.temporary import temporary_folder
from pipelines.progress import Say
from stages.poses.people_nets import INSTALLED, NETS, WHEEL, installed

# one release of the wheel, whatever Python and machine this is
_RELEASE = "--python-version=3.12 --implementation=cp --abi=cp312 --platform=manylinux_2_28_x86_64 --only-binary=:all:"
_BRIEFLY = "--quiet --no-input --disable-pip-version-check --retries=1"
_LICENCE = "LICENSE"  # whoever passes the nets on, in an image, passes it on with them


def fetch_people(folder: str | None, say: Say) -> None:
    """Unpack the nets into a folder or URI, by default into this Python's environment, unless they are there.

    Raises `Problem` when pip finds no wheel, its nets are not those that Catwalk knows, or the folder takes no files.
    """
    target = installed(INSTALLED) if folder is None else storage.resolve(folder, os.getcwd())
    shown = storage.redact(target)
    if all(_is_there(target, name) for name in NETS):
        say(f"people: the nets are in {shown}")
        return
    with temporary_folder("people") as scratch:
        files = _unpacked(_wheel(scratch))
    try:
        for name, data in files.items():
            storage.publish_bytes(data, storage.join(target, name))
    except OSError as error:
        raise Problem(f"{shown}: {error}", "name a folder you may write to with --to FOLDER") from error
    used = "" if folder is None else f"; `estimators: {{people: {{folder: {shown}}}}}` in the configuration uses them"
    say(f"people: {len(NETS)} nets, {sum(net.size for net in NETS.values()) / 1e6:.1f} MB, unpacked into {shown}{used}")


def _is_there(folder: str, name: str) -> bool:
    try:
        return storage.digest(storage.join(folder, name)) == NETS[name].digest
    except FileNotFoundError:
        return False


def _wheel(scratch: Path) -> Path:
    """MediaPipe's wheel, downloaded by pip. Raises `Problem` with what pip says."""
    options = f"--no-deps {_RELEASE} {_BRIEFLY}".split()
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(scratch), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)  # noqa: S603 (words of ours)
    if done.returncode == 0:
        return next(scratch.glob("*.whl"))
    said = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    reason = "pip reaches no index" if "connection broken" in done.stderr else (said or done.stderr.splitlines())[0]
    raise Problem(
        f"the nets that find people could not be fetched ({WHEEL}): {storage.redact_text(reason)}",
        "with an index in pip's reach, run `catwalk models fetch people`",
    )


def _unpacked(wheel: Path) -> dict[str, bytes]:
    """Name → bytes of every net, and of the licence. Raises `Problem` for other bytes than those that Catwalk knows."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            nets = {name: archive.read(f"mediapipe/modules/{net.module}/{name}") for name, net in NETS.items()}
            (licence,) = (name for name in archive.namelist() if name.endswith(f".dist-info/{_LICENCE}"))
            others = [name for name, data in nets.items() if hashlib.sha256(data).hexdigest() != NETS[name].digest]
            if others:
                raise ValueError(f"its {', '.join(others)} are others than were published")
            return {**nets, _LICENCE: archive.read(licence)}
    except (zipfile.BadZipFile, KeyError, ValueError) as wrong:
        raise Problem(f"{wheel.name} is not MediaPipe's: {wrong}", "look at what index pip is told of") from None


if __name__ == "__main__":
    from pipelines.commands.options import say

    try:
        fetch_people(None, say)
    except (Problem, OSError) as problem:
        say(f"setup: {problem}; everything else works without them")
