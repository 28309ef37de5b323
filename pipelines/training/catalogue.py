"""The sample catalogue: drawn people and driving videos of other drawn people, so that a fresh checkout can animate.

Everything in it is drawn by rule (`people`), without photographs or models. `manifests/sample/catalogue` is what
`python -m pipelines.training.catalogue OUT_DIR` wrote: a line per clip in `clips.jsonl`, the media that it names, and
`consents.json`, the records that its rows name.
The bundled animator has seen none of these people.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np
from PIL import Image

from pipelines.training.people import Motion, draw, random_character, standing

WIDTH, HEIGHT = 192, 256
FPS, FRAMES = 12, 30

REFERENCES = {
    "striped-dress": 1_000_104,
    "yellow-jumper": 1_000_117,
    "red-boots": 1_000_111,
    "heart-tee": 1_000_120,
    "polka-dots": 1_000_101,
    "green-jacket": 1_000_138,
}
"""Seed of every person to animate."""

DRIVING = {"dance": (1_000_202, 1), "jumping_jack": (1_000_207, 1), "turn": (1_000_205, 1)}
"""By motion: seeds of the person filmed and of the motion's variation."""


def driving_frames(motion: str) -> np.ndarray:
    """The film of one driving video, uint8 (30, 256, 192, 3)."""
    person, variation = DRIVING[motion]
    character, moves = random_character(person), Motion.named(motion, variation)
    return np.stack([draw(character, moves.pose(frame / FPS), WIDTH, HEIGHT).picture for frame in range(FRAMES)])


def clips() -> list[dict]:
    """The rows of the sample manifest: every person performs one of the films; paths are relative to the catalogue."""
    return [
        {
            "id": f"{person}-{motion}",
            "reference": f"{person}.png",
            "driving": f"{motion}.mp4",
            "animator": "drawn",
            "retarget": "bone_length",
            "seed": 7,
            "likeness_consent": f"drawn-{person}",
            "performer_consent": f"drawn-{motion}",
            "metadata": {"sku": f"CW-{1000 + seed % 1000}", "motion": motion},
        }
        for (person, seed), motion in zip(REFERENCES.items(), list(DRIVING) * 2, strict=True)
    ]


def consents() -> list[dict]:
    """A record for each of the drawn people: nobody was asked, as nobody is in the pictures."""
    document = hashlib.sha256(b"drawn by rule: pipelines/training/people").hexdigest()
    use = {"brands": ["*"], "channels": ["*"], "territories": ["*"], "starts": "2026-01-01", "minor": False}
    roles = [(name, "likeness") for name in REFERENCES] + [(name, "performer") for name in DRIVING]
    return [
        {"id": f"drawn-{name}", "subject": f"a drawn person ({name})", "role": role, **use, "document": document}
        for name, role in roles
    ]


def write_catalogue(folder: Path) -> None:
    """Draw the catalogue into `folder`: a PNG per person, an MP4 per motion, `consents.json`, `clips.jsonl` last.

    Raises ffmpeg.Error when the encoder of imageio-ffmpeg fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for person, seed in REFERENCES.items():
        picture = draw(random_character(seed), standing(seed), WIDTH, HEIGHT).picture
        Image.fromarray(picture).save(folder / f"{person}.png", optimize=True)
    for motion in DRIVING:
        _encode(driving_frames(motion), folder / f"{motion}.mp4")
    records = ",\n".join(map(json.dumps, consents()))
    (folder / "consents.json").write_text(f"[\n{records}\n]\n")
    (folder / "clips.jsonl").write_text("".join(json.dumps(clip) + "\n" for clip in clips()))


def _encode(frames: np.ndarray, path: Path) -> None:
    """Write H.264 yuv420p; one thread, so that bytes repeat."""
    height, width = frames.shape[1:3]
    source = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", r=FPS)
    bt709 = {"color_primaries": "bt709", "color_trc": "bt709", "colorspace": "bt709", "range": "tv"}
    video = source.filter("scale", out_color_matrix="bt709", out_range="tv", flags="accurate_rnd+full_chroma_int")
    video = video.filter("format", "yuv420p").filter("setparams", **bt709)
    film = video.output(
        str(path),
        **{"c:v": "libx264", "flags:v": "+bitexact", "fflags": "+bitexact", "map_metadata": -1},
        crf=14,
        preset="veryslow",
        threads=1,
        movflags="+faststart",
    )
    film.overwrite_output().run(imageio_ffmpeg.get_ffmpeg_exe(), input=frames.tobytes(), quiet=True)


def main(arguments: list[str] | None = None) -> None:
    """Draw the catalogue and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.training.catalogue", description="Draw the catalogue.")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR", help="where the pictures, films and clips.jsonl go")
    folder = parser.parse_args(arguments).folder
    write_catalogue(folder)
    sys.stdout.write(f"{len(clips())} clips in {folder / 'clips.jsonl'}\n")


if __name__ == "__main__":
    main()
