"""Small media and manifests that tests make for themselves, and a session-wide local cluster to run them on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.configuration import RunConfig
from stages.video.encode import Encoder, EncodeRecipe
from tests.made.certificates import issue

CHECKPOINT = Path(__file__).resolve().parents[1] / "golden" / "magicanimate" / "checkpoint"
BACKGROUND = (68, 1, 84)  # of DensePose renders


def write_reference(path: Path, seed: int = 0) -> Path:
    """A 48×64 picture of coloured blocks."""
    blocks = np.random.default_rng(seed).integers(0, 255, (8, 6, 3), dtype=np.uint8)
    Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)).save(path)
    return path


def write_driving(path: Path, frames: int = 6, fps: Fraction = Fraction(25), seed: int = 0) -> Path:
    """A 48×64 film of a block that moves over the DensePose background."""
    film = np.tile(np.array(BACKGROUND, np.uint8), (frames, 64, 48, 1))
    for number in range(frames):
        left = (3 * number + 7 * seed) % 32
        film[number, 16:48, left : left + 12] = (33, 145, 140)
    with Encoder(path, 48, 64, fps, EncodeRecipe(crf=10)) as encoder:
        encoder.write(film)
    return path


def clip_row(clip_id: str, **fields: Any) -> dict[str, Any]:
    """A good row for the media above, at a size that takes a second."""
    row = {"id": clip_id, "reference": "reference.png", "driving": "driving.mp4", "driving_kind": "densepose"}
    return {**row, "animator": "magicanimate", "steps": 1, "width": 48, "height": 64, **fields}


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> str:
    """Rows as Parquet, mappings as JSON text; columns that a row lacks are null."""
    names = dict.fromkeys(name for row in rows for name in row)
    cells = [
        {name: json.dumps(row[name]) if isinstance(row.get(name), dict) else row.get(name) for name in names}
        for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(cells), path)
    return str(path)


# Of runs whose films are held against pictures, or against films under other keys: marks differ with the key.
UNMARKED = {"provenance": {"watermark": {"mark": False}}}


def config(**fields: Any) -> RunConfig:
    """A laptop's configuration with the recorded tiny weights."""
    return RunConfig.load(None, {"checkpoints": {"magicanimate": str(CHECKPOINT)}, **fields})


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder with reference.png and driving.mp4."""
    write_reference(tmp_path / "reference.png")
    write_driving(tmp_path / "driving.mp4")
    return tmp_path


@pytest.fixture(scope="session")
def cluster(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One local Ray cluster for the whole session; its workers know the S3 server, and a key that signs films."""
    import ray

    from cluster.connection import connect

    issued = issue(tmp_path_factory.mktemp("certificate"), "House of Workers")
    os.environ["CATWALK_TEST_CHAIN"], os.environ["CATWALK_TEST_KEY"] = (
        path.read_text() for path in (issued.certificate, issued.private_key)
    )
    yield connect()
    ray.shutdown()
