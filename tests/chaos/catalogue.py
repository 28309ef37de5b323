"""A catalogue of cheap clips: several SKUs on each driving file, which are videos and keypoints in turn."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stages.poses.files import openpose_json
from stages.video.encode import Encoder, EncodeRecipe
from tests.chaos.painted import NAME
from tests.made.pose_motions import FPS, HEIGHT, WIDTH, Body, dancing
from tests.made.sample_media import write_reference


def write_catalogue(folder: Path, clips: int, skus: int = 4, frames: int = 8, seconds: float = 0.0) -> list[dict]:
    """Rows of `clips` films of which no two are alike, `skus` on each driving file, and the media that they name.

    Each film has `frames` frames and takes `seconds` to paint. The driving files are longer, so that there is something
    to do before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for sku in range(skus):
        write_reference(folder / f"sku-{sku}.png", seed=sku)
    rows = []
    for number in range(clips):
        motion, sku = divmod(number, skus)
        if sku == 0:
            driving = write_motion(folder, motion)
        shown = {"first_frame": sku * 3, "frame_count": frames, "options": {"seconds": seconds}}
        rows.append(painted_row(f"sku-{sku}.motion-{motion}", f"sku-{sku}.png", driving, **shown))
    return rows


def painted_row(clip_id: str, reference: str, driving: str, **fields: Any) -> dict[str, Any]:
    """A good row of the painted animator; what drives it is told by the file's name."""
    kind = "keypoints" if driving.endswith(".json") else "skeleton"
    row = {"id": clip_id, "reference": reference, "driving": driving, "driving_kind": kind, "animator": NAME}
    return {**row, "width": 48, "height": 64, **fields}


def write_motion(folder: Path, number: int, frames: int = 100) -> str:
    """The name of a driving file of its own: a video of a moving block, every other one OpenPose JSON."""
    if number % 2:
        motion = dancing(Body(), frames, seed=number).keypoints(seed=number)
        documents = [openpose_json.write(motion.people(frame)) for frame in range(frames)]
        written = {"width": WIDTH, "height": HEIGHT, "fps": str(int(FPS)), "frames": documents}
        (folder / f"motion-{number}.json").write_text(json.dumps(written), encoding="utf-8")
        return f"motion-{number}.json"
    film = np.zeros((frames, 64, 48, 3), np.uint8)
    for frame in range(frames):
        left = (3 * frame + 5 * number) % 36
        film[frame, 8 + number % 40 :, left : left + 12] = (33 + number % 200, 145, 140)
    with Encoder(folder / f"motion-{number}.mp4", 48, 64, Fraction(25), EncodeRecipe(crf=10)) as encoder:
        encoder.write(film)
    return f"motion-{number}.mp4"
