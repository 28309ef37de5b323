"""The sample catalogue: three drawn people and two driving motions, so that a fresh checkout has something to animate.

Everything here is drawn by rule in this package, without photographs or models; `python -m manifests.sample OUT_DIR`
draws it again, and `catalogue/` is what that command wrote.
"""

import json
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np
from PIL import Image

from manifests.sample import dotted_dress, navy_blazer, tartan_skirt
from manifests.sample.body import FLOOR, HEIGHT, WIDTH
from manifests.sample.densepose import colours, render
from manifests.sample.motions import FPS, FRAMES, MOTIONS, body

CATALOGUE = Path(__file__).parent / "catalogue"
"""The committed catalogue: `clips.jsonl`, one line per clip, and the media that its rows name relative to it."""

PEOPLE = {"dotted-dress": dotted_dress.draw, "navy-blazer": navy_blazer.draw, "tartan-skirt": tartan_skirt.draw}
SKUS = {"dotted-dress": "CW-1041", "navy-blazer": "CW-2207", "tartan-skirt": "CW-3318"}


def motion_frames(motion: str) -> np.ndarray:
    """One driving motion as DensePose pictures, uint8 (24, 256, 192, 3)."""
    poses = (MOTIONS[motion](frame) for frame in range(FRAMES))
    return np.stack([colours(render(body(pose, WIDTH / 2, FLOOR), HEIGHT, WIDTH)) for pose in poses])


def clips() -> list[dict]:
    """The rows of the sample manifest: every person with every motion; paths are relative to the catalogue."""
    return [
        {
            "id": f"{person}-{motion}",
            "reference": f"{person}.png",
            "driving": f"{motion}.mp4",
            "driving_kind": "densepose",
            "animator": "magicanimate",
            "width": WIDTH,
            "height": HEIGHT,
            "steps": 4,
            "seed": 7,
            "metadata": {"sku": SKUS[person], "motion": motion},
        }
        for person in PEOPLE
        for motion in MOTIONS
    ]


def write_catalogue(folder: Path) -> None:
    """Draw the catalogue into `folder`: a PNG per person, an MP4 per motion, `clips.jsonl` last.

    Raises ffmpeg.Error when the encoder of imageio-ffmpeg fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for person, draw in PEOPLE.items():
        Image.fromarray(draw()).save(folder / f"{person}.png", optimize=True)
    for motion in MOTIONS:
        _encode(motion_frames(motion), folder / f"{motion}.mp4")
    (folder / "clips.jsonl").write_text("".join(json.dumps(clip) + "\n" for clip in clips()))


def _encode(frames: np.ndarray, path: Path) -> None:
    """Write H.264 yuv420p, close to lossless as label colours must survive; one thread, so that bytes repeat."""
    height, width = frames.shape[1:3]
    source = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", r=FPS)
    bt709 = {"color_primaries": "bt709", "color_trc": "bt709", "colorspace": "bt709", "range": "tv"}
    video = source.filter("scale", out_color_matrix="bt709", out_range="tv", flags="accurate_rnd+full_chroma_int")
    video = video.filter("format", "yuv420p").filter("setparams", **bt709)
    film = video.output(
        str(path),
        **{"c:v": "libx264", "flags:v": "+bitexact", "fflags": "+bitexact", "map_metadata": -1},
        crf=6,
        preset="veryslow",
        threads=1,
        movflags="+faststart",
    )
    film.overwrite_output().run(imageio_ffmpeg.get_ffmpeg_exe(), input=frames.tobytes(), quiet=True)
