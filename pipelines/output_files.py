"""Files that a person names on the command line to be written: never one that is read, none that is there already."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from manifests import storage
from manifests.errors import Problem, WrongUsage
from manifests.storage_fault import storage_fault


def require_writable(outputs: Sequence[Path], inputs: Iterable[str], overwrite: bool = False) -> None:
    """Make the folders of `outputs` and raise `WrongUsage` unless each of them may be written.

    None may be one of the `inputs` (paths or URIs), whatever the spelling and through links, nor stand twice; one that
    is there already needs `overwrite`.
    """
    read = [path for uri in inputs if (path := storage.local_path(storage.resolve(uri, os.getcwd())))]
    for number, output in enumerate(outputs):
        if any(_same(output, one) for one in read):
            raise WrongUsage(f"output {str(output)!r}: is read by this very command", "name another file to write")
        if any(_same(output, other) for other in outputs[:number]):
            raise WrongUsage(f"output {str(output)!r}: is named twice", "name a file of its own for each output")
        if os.path.lexists(output) and not overwrite:
            raise WrongUsage(f"output {str(output)!r}: is there already", "name another file, or add --overwrite")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=output.parent, prefix=".catwalk-"):
                pass  # found now and not when the film is there
        except OSError as error:
            remedy = "name a file in a folder that can be written"
            raise WrongUsage(f"output {str(output)!r}: {error}", remedy) from None


def require_writable_folder(output: str) -> None:
    """Raise `WrongUsage` unless a local output folder can be made and written to; nothing is left in it.

    Buckets are tried when the run is claimed.
    """
    if not storage.is_local(output):
        return
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=output, prefix=".catwalk-"):
            pass
    except OSError as error:
        fault = storage_fault(error)
        said = fault.error if fault else str(error)
        raise WrongUsage(f"output {output} cannot be written: {said}", "name a folder that can be written") from None


def unwritable(output: str, error: OSError) -> Problem:
    """What it means that nothing can be put below the output folder or bucket."""
    fault = storage_fault(error)
    return Problem(
        f"output {storage.redact(output)} cannot be written: {fault.error if fault else error}",
        fault.remedy if fault else "choose a folder or bucket that you and the workers may write to",
    )


def require_apart(manifest: str, folder: str) -> None:
    """Raise `WrongUsage` for a manifest in the folder of the run that reads it, whose tables would be written over it.

    Both are URIs; links are followed.
    """
    places = [os.path.realpath(local) if (local := storage.local_path(uri)) else uri for uri in (manifest, folder)]
    if f"{places[0]}/".startswith(f"{places[1]}/"):
        error = f"manifest {storage.redact(manifest)}: lies in the folder of the run that is to read it"
        raise WrongUsage(error, "give another --run-id, or none, or move the manifest")


def _same(one: Path, other: Path) -> bool:
    """Whether two paths mean the same file, be it there or not."""
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
