"""How much of a user's media is read before it is refused."""

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt


class Limits(BaseModel):
    """Bounds on one reference image, driving video or keypoint file, checked from headers before pixels are decoded.

    bytes: size of the file; pixels: width × height of an image; frame_pixels: the same of a video's frame,
    and of the pictures that keypoints lie in;
    frames and seconds: length of a video or keypoint file; people: in a frame of a keypoint file; unpacked_bytes: of
    all its keypoints in memory; memory_bytes and cpu_seconds: what the process that reads a file may take, of processor
    time 2 s more for each MiB of the file and 1 s for each frame that is decoded, but never more than most_cpu_seconds.
    Nothing reserves that memory: beside a pool's own, each of its workers may have such a process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: PositiveInt = 2 * 1024**3
    pixels: PositiveInt = 120_000_000  # as of cameras of 100 MP; reading them takes 2.6 GB at most of memory_bytes
    frame_pixels: PositiveInt = 4096 * 2304
    frames: PositiveInt = 20_000
    seconds: PositiveFloat = 900.0
    memory_bytes: PositiveInt = 4 * 1024**3
    cpu_seconds: PositiveFloat = 120.0
    most_cpu_seconds: PositiveFloat = 3600.0
    people: PositiveInt = 100
    unpacked_bytes: PositiveInt = 512 * 1024**2
