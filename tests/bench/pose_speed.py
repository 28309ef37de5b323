"""Frames per second and core of every step from a frame to a drawn pose.

    python -m tests.bench.pose_speed [--frames N]

The two networks are stand-ins: plain convolutions of the real ones' inputs, outputs and floating point operations
(YOLOX-l 155.6 GFLOP, RTMPose-l 20 GFLOP per picture), with random weights. The real files are the user's. Everything
runs on one thread; on shared cores only the ratios mean something, so each step's time is also given in those of the
detector.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stages.poses.drawing.controlnet10 import draw_controlnet10
from stages.poses.drawing.dwpose import draw
from stages.poses.drawing.skeleton import animate_anyone, dwpose, mimicmotion
from stages.poses.estimators.rtmpose import PoseNet
from stages.poses.estimators.yolox import PersonDetector
from stages.poses.keypoints import Keypoints
from stages.poses.motion.repair import repair
from stages.poses.motion.retarget import retarget
from stages.poses.motion.subject import follow
from tests.made.conv_onnx import Layer, write_conv_net
from tests.made.pose_motions import FPS, HEIGHT, WIDTH, Body, crossing, dancing, observe, standing
from tests.parity.published.mimicmotion_drawing import draw_mimicmotion

DETECTOR_GFLOP, POSE_GFLOP = 155.6, 20.0


def stand_ins(folder: Path) -> tuple[Path, Path, float, float]:
    """A detector and a pose net, and the GFLOP that each really has."""
    body = [Layer(32, 4), Layer(128, 2), *[Layer(128, 1)] * 40]  # 80 × 80 cells, as YOLOX's finest
    detector, found = write_conv_net(
        folder / "detector.onnx", 640, 640, body, DETECTOR_GFLOP, (("output", (1, 8400, 85)),), "images"
    )
    body = [Layer(32, 4), Layer(128, 2), *[Layer(128, 1)] * 40]
    outputs = (("simcc_x", (1, 133, 576)), ("simcc_y", (1, 133, 768)))
    pose, posed = write_conv_net(folder / "pose.onnx", 384, 288, body, POSE_GFLOP, outputs, "input")
    return detector, pose, found, posed


def rate(step: Callable[[], object], frames: int, at_least: float = 1.0) -> float:
    """Frames per second of a step that handles `frames` at once."""
    step()
    begun, times = time.process_time(), 0
    while time.process_time() - begun < at_least:
        step()
        times += 1
    return frames * times / (time.process_time() - begun)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=250)
    frames = parser.parse_args().frames
    motion = dancing(Body(), frames, seed=1)
    alone = observe([motion], np.random.default_rng(0))
    two = observe(crossing(0), np.random.default_rng(0))
    subject = follow(alone, FPS).subject
    repaired = repair(subject, FPS)[0]
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    person = alone.people(0)
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        detector_file, pose_file, found, posed = stand_ins(Path(scratch))
        detector, pose = PersonDetector(detector_file), PoseNet(pose_file)
        rates[f"detector (stand-in, {found:.1f} GFLOP)"] = rate(lambda: detector(image), 1, 10.0)
        rates[f"pose net (stand-in, {posed:.1f} GFLOP)"] = rate(lambda: pose(pose.cut(image, person.boxes)), 1, 5.0)
    rates["follow, one person"] = rate(lambda: follow(alone, FPS), frames)
    rates["follow, two people crossing"] = rate(lambda: follow(two, FPS), len(two))
    rates["repair"] = rate(lambda: repair(subject, FPS), frames)
    reference = standing(Body(height=500))
    rates["retarget, similarity"] = rate(lambda: retarget(repaired, reference, (768, 512), FPS, "similarity"), frames)
    rates["retarget, bone_length"] = rate(lambda: retarget(repaired, reference, (768, 512), FPS), frames)
    rates |= drawings(repaired)
    slowest = min(rates.values())
    print(f"{frames} frames of {WIDTH} × {HEIGHT}, one thread, seconds of processor time; drawings of 768 × 512")
    print(f"{'step':48s}{'frames/s/core':>14s}{'time, detector = 1':>20s}")
    for name, one in rates.items():
        print(f"{name:48s}{one:14.4g}{slowest / one:20.5f}")
    both = list(rates.values())[:2]
    print("\nboth networks, frames/s/core by how often the detector looks:", end=" ")
    print(", ".join(f"every {n}: {1 / (1 / both[0] / n + 1 / both[1]):.3g}" for n in (1, 2, 4, 8)))


def drawings(repaired: Keypoints) -> dict[str, float]:
    """Frames per second of the three drawings."""
    reference = standing(Body(height=500))
    moved = retarget(repaired, reference, (768, 512), FPS).keypoints
    people = moved.people(10)
    single, everyone, modulated = (make(people, 512, 768) for make in (animate_anyone, dwpose, mimicmotion))
    pixels = everyone.candidate * [512, 768]
    return {
        "drawing, DWPose and Animate Anyone": rate(lambda: draw(single, 768, 512), 1),
        "drawing, ControlNet 1.0": rate(lambda: draw_controlnet10(pixels, everyone.subset, 768, 512), 1),
        "drawing, MimicMotion": rate(lambda: draw_mimicmotion(modulated, 768, 512), 1),
    }


if __name__ == "__main__":
    main()
