"""Promises about pinned weights: other ones make no film, and that is said before it costs anything."""

from pathlib import Path

import pytest

from manifests.errors import Problem, WrongUsage
from pipelines.configuration import RunConfig
from pipelines.keying import Keying
from pipelines.settings import settled
from stages.bundled import bundled
from stages.diffusion.animators import ANIMATORS


def keying(folder: Path, pins: dict[str, str], label: str = "mine") -> Keying:
    given = {"checkpoints": {label: str(folder)}, "checkpoint_digests": pins, "cache": str(folder.parent / "cache")}
    return Keying(settled(RunConfig.load(None, given), str(folder / "m.parquet"), str(folder.parent / "out"), None))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the bundled weights, as links to its files."""
    own = Path(bundled(ANIMATORS["drawn"].bundled or ""))
    for file in (path for path in own.rglob("*") if path.is_file()):
        target = tmp_path / "weights" / file.relative_to(own)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file)
    return tmp_path / "weights"


def test_only_the_pinned_weights_make_films(weights: Path) -> None:
    found = keying(weights, {}).digest(("drawn", str(weights)))
    assert keying(weights, {"mine": found}).digest(("drawn", str(weights))) == found
    config = next(weights.rglob("config.json"))
    other = config.read_text() + " "
    config.unlink()
    config.write_text(other)
    pinned = keying(weights, {"mine": found})
    with pytest.raises(Problem, match=f"checkpoint mine: {weights} has the digest [0-9a-f]{{64}}, pinned is {found}"):
        pinned.digest(("drawn", str(weights)))
    assert keying(weights, {}).digest(("drawn", str(weights))) != found


def test_a_pin_belongs_to_a_checkpoint_and_is_a_digest(weights: Path) -> None:
    with pytest.raises(WrongUsage, match="no checkpoint is named 'other'"):
        keying(weights, {"other": "0" * 64})
    with pytest.raises(WrongUsage, match=r"checkpoint_digests\.mine"):
        keying(weights, {"mine": "SHA256:abc"})
