"""One manifest, six published systems, real media, the recorded tiny checkpoints: the whole way on a Ray cluster."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipelines.animate import run
from pipelines.configuration import RunConfig
from pipelines.training.people import densepose, random_character, random_motion
from tests.conftest import CHECKOUT
from tests.made.sample_media import write_manifest

pytestmark = pytest.mark.usefixtures("cluster")

SYSTEMS = ("magicanimate", "animate_anyone", "dreampose", "text2video_zero", "wan_vace", "wan_animate")
COMMITTED = ("wan_vace", "wan_animate")  # whose checkpoints are part of the repository
# where and how early the tiny text path may leave and rejoin its ten steps
EARLY = {"t0": 35, "t1": 40}


def checkpoints(shared: Path) -> dict[str, str]:
    golden = {system: (CHECKOUT / "tests" if system in COMMITTED else shared) / "golden" for system in SYSTEMS}
    return {system: str(folder / system / "checkpoint") for system, folder in golden.items()}


def rows(media: Path, uv: Path) -> list[dict[str, Any]]:
    magicanimate, anyone, people = media / "magicanimate", media / "animate_anyone", media / "people"
    small = {"width": 64, "height": 96, "steps": 2, "frame_count": 5}
    densepose_clip = {"animator": "magicanimate", "driving_kind": "densepose"}
    skeleton_clip = {"animator": "animate_anyone", "driving_kind": "skeleton"}
    uv_clip = {"animator": "dreampose", "driving_kind": "densepose_uv", "driving": str(uv), "width": 64, "height": 128}
    pose_clip = {"animator": "text2video_zero", "driving_kind": "skeleton", "prompt": "a dancer", "height": 64}
    text_clip = {"animator": "text2video_zero", "prompt": "a horse", "steps": 10, "height": 64, "options": EARLY}
    # in segments of five frames, drawn at rates of their own: 16 and 30 a second
    wan_clip = {"driving_kind": "skeleton", "window": 5, "overlap": 1, "fps": "25", "frame_count": 12, "height": 64}
    files = [
        (densepose_clip, magicanimate / "dalle2.jpeg", magicanimate / "running.mp4"),
        (densepose_clip, magicanimate / "demo4.png", magicanimate / "demo4.mp4"),
        (skeleton_clip, anyone / "anyone-3.png", anyone / "anyone-video-2_kps.mp4"),
        (skeleton_clip, anyone / "anyone-5.png", anyone / "anyone-video-5_kps.mp4"),
        (uv_clip, people / "human-pose.jpeg", None),
        (pose_clip, None, anyone / "anyone-video-5_kps.mp4"),
        (text_clip, None, None),
        ({**wan_clip, "animator": "wan_vace"}, anyone / "anyone-3.png", anyone / "anyone-video-5_kps.mp4"),
        ({**wan_clip, "animator": "wan_animate"}, anyone / "anyone-3.png", anyone / "anyone-video-5_kps.mp4"),
    ]
    made = []
    for number, (kind, reference, driving) in enumerate(files):
        given = {"reference": reference, "driving": driving}
        named = {field: str(path) for field, path in given.items() if path is not None}
        made.append({"id": f"{kind['animator']}-{number}", **small, **named, **kind})
    return made


def write_uv(path: Path, frames: int) -> Path:
    """U and V of a drawn person, as a DensePose network would have found them; 12 frames per second."""
    character, motion = random_character(3), random_motion(3)
    uv = np.stack([densepose(character, motion.pose(frame / 12), 64, 128)[1] for frame in range(frames)])
    np.savez(path, uv=uv, fps="12")
    return path


def test_six_systems_animate_one_manifest_and_find_it_finished_afterwards(shared: Path, tmp_path: Path) -> None:
    def config(**pool: Any) -> RunConfig:
        # room for one model at a time: the worker has to swap
        pool = {"model_bytes": 1, "dtype": "float32", "threads": 1, **pool}
        places = {"checkpoints": checkpoints(shared), "allowed_prefixes": [str(shared)]}
        return RunConfig.load(None, {**places, "animate_pool": pool})

    manifest = write_manifest(tmp_path / "m.parquet", rows(shared / "media", write_uv(tmp_path / "uv.npz", 5)))
    first = run(config(device="cpu", gpus_per_clip=2), manifest, str(tmp_path / "out"))
    assert [(one.status, one.error) for one in first.results] == [("done", None)] * 9
    expected = [(5, rate) for rate in (25, 25, 30, 30, 12, 30, 4)] + [(10, 25)] * 2
    for result, (frames, rate) in zip(first.results, expected, strict=True):
        with av.open(result.film) as film:
            stream = film.streams.video[0]
            shown = sum(1 for _ in film.decode(stream))
            assert (shown, stream.average_rate) == (frames, Fraction(rate)), result.id
            assert (stream.width, stream.height) == (result.width, result.height)
            assert result.width == 64
    again = run(config(), manifest, str(tmp_path / "out"))  # on how many devices a film is made is not in its name
    assert [one.status for one in again.results] == ["cached"] * 9, again.results
