"""Motions of whole-body skeletons whose truth is known: people that walk, dance, turn and cross, and faults to inject.

A body is posed in space (x right, y down, z towards the viewer, pixels) and projected along z. Legs reach for ankles by
inverse kinematics, so that a planted foot stands exactly still. Everything follows from its seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stages.poses.keypoints import Keypoints, People
from stages.poses.wholebody import FACE, LEFT_HAND, POINTS, RIGHT_HAND

FPS = 25.0
WIDTH, HEIGHT = 1280, 720
GROUND = 640.0
NOBODY = People(np.empty((0, POINTS, 2)), np.empty((0, POINTS)), np.empty((0, 4)))


def somebody(people: int = 1, seed: int = 0) -> People:
    """People of points and scores anywhere, none of them detected."""
    random = np.random.default_rng(seed)
    points = random.uniform(0, 240, (people, POINTS, 2))
    return People(points, random.uniform(0.05, 1.2, (people, POINTS)), np.full((people, 4), np.nan))


@dataclass(frozen=True)
class Body:
    """Lengths as fractions of `height`, which is in pixels."""

    height: float = 440.0
    torso: float = 0.30
    shoulders: float = 0.23
    hips: float = 0.12
    upper_arm: float = 0.165
    forearm: float = 0.14
    thigh: float = 0.235
    shin: float = 0.235
    head: float = 0.13
    hand: float = 0.10
    foot: float = 0.13

    def __getitem__(self, name: str) -> float:
        return getattr(self, name) * self.height


LANKY = Body(height=500, torso=0.27, shoulders=0.21, thigh=0.26, shin=0.26, upper_arm=0.18, forearm=0.16, head=0.11)
STOCKY = Body(height=360, torso=0.34, shoulders=0.29, hips=0.16, thigh=0.21, shin=0.20, upper_arm=0.15, head=0.15)
CHILD = Body(height=250, torso=0.31, shoulders=0.22, thigh=0.20, shin=0.19, upper_arm=0.14, forearm=0.12, head=0.20)
BODIES = {"average": Body(), "lanky": LANKY, "stocky": STOCKY, "child": CHILD}


def random_body(random: np.random.Generator, height: float | None = None) -> Body:
    """Anybody."""
    varied = {name: value * random.uniform(0.88, 1.12) for name, value in vars(Body()).items() if name != "height"}
    return Body(height=height or random.uniform(340, 500), **varied)


@dataclass(frozen=True)
class Motion:
    """One person's truth."""

    points: np.ndarray  # (frames, 134, 2)
    depth: np.ndarray  # (frames,): larger is nearer to the viewer
    planted: np.ndarray  # bool (frames, 2): right, left foot stands
    body: Body

    def __len__(self) -> int:
        return len(self.points)

    def keypoints(self, seed: int = 0) -> Keypoints:
        """As a good estimator sees it alone: scores around 0.85."""
        return observe([self], np.random.default_rng(seed), noise=0.0)


@dataclass(frozen=True)
class _Pose:
    """Arrays over frames; sides are right, left. Angles in radians."""

    root: np.ndarray  # (frames, 3) middle of the hips
    yaw: np.ndarray  # 0 faces the viewer, π/2 faces the right edge of the picture
    lean: np.ndarray
    swing: np.ndarray  # (frames, 2) upper arms, forwards
    lift: np.ndarray  # (frames, 2) upper arms, outwards
    bend: np.ndarray  # (frames, 2) elbows
    ankles: np.ndarray  # (frames, 2, 3)


def walking(
    body: Body,
    frames: int = 100,
    start: float = 300.0,
    speed: float = 120.0,
    yaw: float = np.pi / 2,
    depth: float = 0.0,
    phase: float = 0.0,
    turn_at: float | None = None,
    ground: float = GROUND,
) -> Motion:
    """Walk along the picture at `speed` pixels/s, signed; `turn_at`: second at which to turn round and walk back."""
    seconds = np.arange(frames) / FPS
    if turn_at is None:
        along, heading = seconds, np.zeros(frames)
    else:
        along = np.where(seconds < turn_at, seconds, 2 * turn_at - seconds)
        heading = np.pi * _ease((seconds - turn_at) / 0.5 + 0.5)
    cycle = np.clip(0.9 * body.height / 440 * 120 / max(abs(speed), 40), 0.55, 1.1)
    facing = (yaw if speed >= 0 else -yaw) + heading
    x, lifted, planted = [], [], []
    for offset in (phase, phase + 0.5):
        progress = along / cycle + offset
        whole = np.floor(progress)
        part = progress - whole
        swing = _ease((part - 0.6) / 0.4)
        x.append(start + speed * cycle * (whole + 0.3 - offset + swing))
        lifted.append(0.06 * body.height * np.sin(np.pi * np.clip((part - 0.6) / 0.4, 0, 1)))
        planted.append((part > 0.01) & (part < 0.59))
    hips = body["hips"] / 2
    across = np.stack([np.cos(facing), 0 * facing, -np.sin(facing)], axis=1)
    ankles = np.stack([np.stack([a, ground - b, 0 * a + depth], axis=1) for a, b in zip(x, lifted, strict=True)], 1)
    ankles += np.stack([-across, across], axis=1) * hips * [0, 0, 1] + np.stack([-across, across], 1) * hips * [1, 0, 0]
    centre = start + speed * along
    legs = body["thigh"] + body["shin"]
    reach = np.sqrt((0.985 * legs) ** 2 - np.minimum(np.abs(speed) * cycle * 0.3, 0.6 * legs) ** 2)
    bob = 0.01 * body.height * np.cos(4 * np.pi * (along / cycle + phase))
    root = np.stack([centre, ground - reach + bob, 0 * centre + depth], axis=1)
    turn = 2 * np.pi * (along / cycle + phase)
    swing = 0.5 * np.stack([-np.cos(turn), np.cos(turn)], axis=1)
    pose = _Pose(root, facing, 0 * along + 0.05, swing, 0 * swing + 0.12, 0.35 + 0.2 * np.maximum(swing, 0), ankles)
    return Motion(_skeleton(body, pose), np.full(frames, depth), np.stack(planted, axis=1), body)


def dancing(
    body: Body, frames: int = 100, centre: float = 640.0, seed: int = 0, pace: float = 1.0, flat: bool = False
) -> Motion:
    """Sway, throw the arms about (up to 3 Hz), lift the feet in turn. `flat`: never out of the picture's plane."""
    random = np.random.default_rng(seed)
    seconds = np.arange(frames) / FPS * pace
    beat = np.sin(2 * np.pi * 0.5 * seconds + random.uniform(0, 6))
    yaw = np.zeros(frames) if flat else 0.5 * np.sin(2 * np.pi * 0.3 * seconds + random.uniform(0, 6))
    legs = body["thigh"] + body["shin"]
    step = (seconds * 0.8 + random.uniform(0, 1)) % 2.0
    lifts = [_bump((step - 0.15) / 0.6), _bump((step - 1.15) / 0.6)]
    stance = 0.09 * body.height
    ankles = np.empty((frames, 2, 3))
    for side, (sign, lift) in enumerate(zip((-1, 1), lifts, strict=True)):
        out = sign * stance * (1 + 0.8 * lift)
        ankles[:, side] = np.stack([centre + out, GROUND - 0.12 * body.height * lift, 0 * out], axis=1)
    x = centre + 0.06 * body.height * beat
    y = GROUND - legs * (0.93 + 0.02 * np.cos(2 * np.pi * 1.0 * seconds))
    root = np.stack([x, y, 0 * x], axis=1)
    tones = random.uniform(0.6, 3.0, 4), random.uniform(0, 6, 4)
    waves = [np.sin(2 * np.pi * rate * seconds + start) for rate, start in zip(*tones, strict=True)]
    swing = np.zeros((frames, 2)) if flat else 0.7 * np.stack(waves[:2], axis=1)
    lift = 0.9 + 0.8 * np.stack(waves[1:3], axis=1)
    bend = (0.0 if flat else 0.7) + 0.6 * np.stack(waves[2:4], axis=1)
    pose = _Pose(root, yaw, 0.05 * beat, swing, lift, bend, ankles)
    planted = np.stack([lifts[0] == 0, lifts[1] == 0], axis=1)
    return Motion(_skeleton(body, pose, flat), np.zeros(frames), planted, body)


def turning(body: Body, frames: int = 100, centre: float = 640.0, turns: float = 1.0) -> Motion:
    """Turn on the spot, with small steps."""
    seconds = np.arange(frames) / FPS
    yaw = 2 * np.pi * turns * _ease(seconds / seconds[-1])
    across = np.stack([np.cos(yaw), 0 * yaw, -np.sin(yaw)], axis=1)
    ankles = np.stack([-across, across], axis=1) * body["hips"] / 2 + [centre, GROUND, 0]
    reach = 0.98 * (body["thigh"] + body["shin"])
    root = np.stack([0 * yaw + centre, 0 * yaw + GROUND - reach, 0 * yaw], axis=1)
    swing = 0.2 * np.stack([np.sin(3 * seconds), np.cos(3 * seconds)], axis=1)
    pose = _Pose(root, yaw, 0 * yaw, swing, 0 * swing + 0.3, 0 * swing + 0.4, ankles)
    return Motion(_skeleton(body, pose), np.zeros(frames), np.zeros((frames, 2), bool), body)


def standing(body: Body, x: float = 300.0, ground: float = 600.0, lift: float = 0.5) -> People:
    """A reference person: facing the viewer, arms a little away from the body."""
    legs = body["thigh"] + body["shin"]
    side = np.array([-1.0, 1.0]) * body["hips"] * 0.7
    ankles = np.stack([x + side, [ground, ground], [0, 0]], axis=1)[None]
    one = np.zeros(1)
    arms = np.zeros((1, 2))
    pose = _Pose(np.array([[x, ground - 0.985 * legs, 0]]), one, one, arms, arms + lift, arms, ankles)
    points = _skeleton(body, pose, flat=True)
    return People(points, np.full((1, POINTS), 0.9), _boxes(points))


# What an estimator makes of it


def observe(
    people: list[Motion], random: np.random.Generator, noise: float = 1.0, quality: float = 0.85, misses: float = 0.0
) -> Keypoints:
    """What a detector and a pose net see of people who may hide one another; detections in order of their score.

    Joints behind somebody's trunk or head lose their score and wander. A box that overlaps a nearer person's by more
    than 45 % is mostly suppressed, as the detector does; where it is not, the pose net often sees the nearer person a
    second time.
    """
    return _observe(people, random, noise, quality, misses)[0]


def observe_with_truth(people: list[Motion], random: np.random.Generator, **how: float) -> tuple[Keypoints, np.ndarray]:
    """`observe`, and whom each slot really shows: int (frames, slots), −1 for nobody."""
    return _observe(people, random, **how)


def _observe(
    people: list[Motion],
    random: np.random.Generator,
    noise: float = 1.0,
    quality: float = 0.85,
    misses: float = 0.0,
) -> tuple[Keypoints, np.ndarray]:
    frames, shown = [], []
    for frame in range(len(people[0])):
        seen = []
        order = sorted(range(len(people)), key=lambda one: -people[one].depth[frame])
        for rank, one in enumerate(order):
            truth = people[one].points[frame]
            points = truth + random.normal(0, noise, truth.shape) if noise else truth.copy()
            scores = np.clip(quality + random.normal(0, 0.04, POINTS), 0.5, 1.0)
            box = _boxes(truth[None])[0]
            duplicate = False
            for nearer in order[:rank]:
                other = people[nearer].points[frame]
                hidden = _covered(truth, other, people[nearer].body)
                points[hidden] += random.normal(0, 0.04 * people[one].body.height, (hidden.sum(), 2))
                scores[hidden] = random.uniform(0.02, 0.45, hidden.sum())
                overlap = _iou(box, _boxes(other[None])[0])
                if overlap > 0.45:
                    if random.random() < 0.85:
                        break
                    duplicate = duplicate or random.random() < 0.6
                if duplicate:
                    points = other + random.normal(0, max(noise, 1.0) * 2, other.shape)
                    scores = np.clip(scores - 0.1, 0.05, 1)
            else:
                if random.random() >= misses:
                    jittered = box + random.normal(0, max(noise, 0.0), 4)
                    scores[1] = float((scores[[2, 5]] > 0.3).all())
                    confidence = scores[:18].mean() + random.normal(0, 0.02)
                    seen.append((confidence, points, scores, jittered, nearer if duplicate else one))
        seen.sort(key=lambda entry: -entry[0])
        shown.append([entry[4] for entry in seen])
        frames.append(People(*(np.stack([entry[k] for entry in seen]) for k in (1, 2, 3))) if seen else NOBODY)
    keypoints = Keypoints.from_people(frames, WIDTH, HEIGHT)
    truth = np.full(keypoints.present.shape, -1)
    for frame, those in enumerate(shown):
        truth[frame, : len(those)] = those
    return keypoints, truth


def with_jitter(keypoints: Keypoints, pixels: float, seed: int = 0) -> Keypoints:
    """Independent normal noise on every point of every frame."""
    noise = np.random.default_rng(seed).normal(0, pixels, keypoints.points.shape)
    return replace(keypoints, points=keypoints.points + noise)


def with_gap(keypoints: Keypoints, start: int, frames: int, points: slice | list[int] | None = None) -> Keypoints:
    """Nobody found for some frames; or only `points` unsure and astray, their scores fading in and out."""
    positions, scores, boxes = keypoints.points.copy(), keypoints.scores.copy(), keypoints.boxes.copy()
    lost = slice(start, start + frames)
    if points is None:
        positions[lost], scores[lost], boxes[lost] = np.nan, 0.0, np.nan
    else:
        random = np.random.default_rng(start)
        for frame in range(start, start + frames):
            shape = positions[frame][:, points].shape
            positions[frame][:, points] += random.normal(0, 40, shape)
            scores[frame][:, points] = random.uniform(0.02, 0.28, shape[:-1])
        for edge in (start - 1, start + frames):
            scores[edge][:, points] = 0.4
    return replace(keypoints, points=positions, scores=scores, boxes=boxes)


MIRROR = np.arange(POINTS)
for _right, _left in (
    (2, 5),
    (3, 6),
    (4, 7),
    (8, 11),
    (9, 12),
    (10, 13),
    (14, 15),
    (16, 17),
    (18, 21),
    (19, 22),
    (20, 23),
):
    MIRROR[_right], MIRROR[_left] = _left, _right
MIRROR[LEFT_HAND], MIRROR[RIGHT_HAND] = np.arange(113, 134), np.arange(92, 113)
SIDED = np.flatnonzero(np.arange(POINTS) != MIRROR).tolist()
LEGS = [8, 9, 10, 11, 12, 13, *range(18, 24)]


def with_flip(keypoints: Keypoints, start: int, frames: int, points: list[int] | None = None) -> Keypoints:
    """Left and right exchanged for some frames, of the whole body or of `points`."""
    positions, scores = keypoints.points.copy(), keypoints.scores.copy()
    which = np.array(SIDED if points is None else points)
    for frame in range(start, start + frames):
        positions[frame][:, which] = keypoints.points[frame][:, MIRROR[which]]
        scores[frame][:, which] = keypoints.scores[frame][:, MIRROR[which]]
    return replace(keypoints, points=positions, scores=scores)


def crossing(seed: int) -> list[Motion]:
    """Two people whose ways cross: they pass, one overtakes, or they meet and turn back. The first is nearer."""
    random = np.random.default_rng(seed)
    kind = random.choice(["pass", "overtake", "meet"], p=[0.6, 0.25, 0.15])
    frames, half = 120, 60 / FPS
    height = random.uniform(340, 460)
    bodies = [random_body(random, height * random.uniform(0.93, 1.07)) for _ in range(2)]
    middle = random.uniform(540, 740)
    first = random.uniform(70, 170) * random.choice([-1, 1])
    second = {
        "pass": -np.sign(first) * random.uniform(70, 170),
        "overtake": first + np.sign(first) * random.uniform(60, 110),
        "meet": -np.sign(first) * random.uniform(70, 170),
    }[kind]
    turn = half if kind == "meet" else None
    motions = []
    for body, speed, depth in zip(bodies, (first, second), (100.0, 0.0), strict=True):
        # Who meets and turns back stops short of the other by up to half a shoulder's width, or stands in front.
        apart = np.sign(speed) * random.uniform(0, 60) if turn else 0.0
        yaw = np.pi / 2 + random.uniform(-0.4, 0.4)
        start = middle - apart - speed * half
        ground = GROUND + random.uniform(-15, 15) * (1 if depth else -1)
        motions.append(
            walking(body, frames, start, speed, yaw, depth, random.uniform(0, 1), turn_at=turn, ground=ground)
        )
    return motions


# Geometry


def _ease(part: np.ndarray) -> np.ndarray:
    part = np.clip(part, 0, 1)
    return part * part * part * (10 - 15 * part + 6 * part * part)


def _bump(part: np.ndarray) -> np.ndarray:
    return np.where((part > 0) & (part < 1), np.sin(np.pi * np.clip(part, 0, 1)) ** 2, 0.0)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)


def _skeleton(body: Body, pose: _Pose, flat: bool = False) -> np.ndarray:
    """(frames, 134, 2)."""
    frames = len(pose.root)
    space = np.zeros((frames, POINTS, 3))
    left = np.stack([np.cos(pose.yaw), 0 * pose.yaw, -np.sin(pose.yaw)], axis=1)
    forward = np.stack([np.sin(pose.yaw), 0 * pose.yaw, np.cos(pose.yaw)], axis=1)
    up = np.tile([0.0, -1.0, 0.0], (frames, 1))
    spine = np.cos(pose.lean)[:, None] * up + np.sin(pose.lean)[:, None] * (left if flat else forward)
    neck = pose.root + spine * body["torso"]
    space[:, 1] = neck
    for side, (sign, shoulder, hip) in enumerate(((-1, 2, 8), (1, 5, 11))):
        outward = sign * left
        space[:, shoulder] = neck + outward * body["shoulders"] / 2
        swing, lift, bend = (angle[:, side, None] for angle in (pose.swing, pose.lift, pose.bend))
        upper = np.cos(swing) * (-np.cos(lift) * up + np.sin(lift) * outward) + np.sin(swing) * forward
        space[:, shoulder + 1] = space[:, shoulder] + upper * body["upper_arm"]
        across = _unit(forward - (forward * upper).sum(axis=1, keepdims=True) * upper)
        aside = np.sin(lift) * up + np.cos(lift) * outward
        lower = np.cos(bend) * upper + np.sin(bend) * (aside if flat else _unit(across + 0.3 * aside))
        lower = _unit(lower)
        space[:, shoulder + 2] = space[:, shoulder + 1] + lower * body["forearm"]
        hand = np.cross(lower, 0.3 * left + forward)
        hand = hand / np.sqrt((hand**2).sum(axis=1, keepdims=True) + 0.1)  # no sudden turn where they align
        template = _HAND @ np.stack([lower, hand], axis=1)
        space[:, LEFT_HAND if sign > 0 else RIGHT_HAND] = space[:, shoulder + 2, None] + template * body["hand"]
        space[:, hip] = pose.root + outward * body["hips"] / 2
        knee = outward if flat else forward
        space[:, hip + 1], space[:, hip + 2] = _leg(body, space[:, hip], pose.ankles[:, side], knee)
        toes = forward if not flat else _unit(outward + 0.2 * forward)
        foot = body["foot"]
        ankle = space[:, hip + 2]
        big, small, heel = (
            ankle + toes * foot * a + outward * foot * b - up * foot * 0.3
            for a, b in ((0.8, 0.0), (0.7, 0.25), (-0.25, 0))
        )
        space[:, slice(18, 21) if sign > 0 else slice(21, 24)] = np.stack([big, small, heel], axis=1)
    head = neck + spine * body["head"] * 0.9
    frame = np.stack([left, up, forward], axis=1)
    space[:, [0, 14, 15, 16, 17]] = head[:, None] + _HEAD @ frame * body["head"]
    space[:, FACE] = head[:, None] + _FACE @ frame * body["head"]
    return space[..., :2]


def _leg(body: Body, hip: np.ndarray, ankle: np.ndarray, forward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    thigh, shin = body["thigh"], body["shin"]
    line = ankle - hip
    length = np.linalg.norm(line, axis=1, keepdims=True)
    reach = np.minimum(length, 0.9999 * (thigh + shin))
    line = line / length
    along = (thigh**2 - shin**2 + reach**2) / (2 * reach)
    aside = np.sqrt(np.maximum(thigh**2 - along**2, 0))
    bend = _unit(forward - (forward * line).sum(axis=1, keepdims=True) * line)
    return hip + line * along + bend * aside, hip + line * reach


def _face() -> np.ndarray:
    """68 points in iBUG order as (left, up, forward) in heads."""
    jaw = np.linspace(np.pi, 2 * np.pi, 17)
    parts = [np.stack([0.45 * np.cos(jaw), 0.05 + 0.55 * np.sin(jaw)], axis=1)]
    for sign in (-1, 1):
        x = np.linspace(0.36, 0.1, 5) if sign < 0 else np.linspace(0.1, 0.36, 5)
        parts.append(np.stack([sign * x, 0.28 - 0.6 * (x - 0.23) ** 2], axis=1))
    parts.append(np.stack([np.zeros(4), np.linspace(0.17, 0.0, 4)], axis=1))
    parts.append(np.stack([np.linspace(-0.09, 0.09, 5), np.full(5, -0.06)], axis=1))
    around = np.linspace(np.pi, -np.pi, 6, endpoint=False)
    eye = np.stack([0.08 * np.cos(around), 0.16 + 0.03 * np.sin(around)], axis=1)
    parts += [eye - [0.2, 0], eye + [0.2, 0]]
    for count, size in ((12, 1.0), (8, 0.6)):
        around = np.linspace(np.pi, -np.pi, count, endpoint=False)
        parts.append(np.stack([0.17 * size * np.cos(around), -0.25 + 0.06 * size * np.sin(around)], axis=1))
    flat = np.concatenate(parts)
    return np.column_stack([flat, 0.5 - 1.2 * flat[:, 0] ** 2])


def _hand() -> np.ndarray:
    """21 points as (along the forearm, across) in hands."""
    points = [(0.0, 0.0)]
    for angle, reach in ((-0.7, 0.65), (-0.25, 0.95), (0.0, 1.0), (0.2, 0.95), (0.42, 0.8)):
        points += [(reach * part * np.cos(angle), reach * part * np.sin(angle)) for part in (0.45, 0.7, 0.86, 1.0)]
    return np.array(points)


_FACE, _HAND = _face(), _hand()
_HEAD = np.array([[0, 0, 0.5], [-0.2, 0.16, 0.4], [0.2, 0.16, 0.4], [-0.5, 0.1, -0.1], [0.5, 0.1, -0.1]], float)


def _boxes(points: np.ndarray) -> np.ndarray:
    low, high = points.min(axis=1), points.max(axis=1)
    margin = 0.04 * (high - low).max(axis=1, keepdims=True)
    return np.concatenate([low - margin, high + margin], axis=1)


def _covered(points: np.ndarray, other: np.ndarray, body: Body) -> np.ndarray:
    """Which points lie behind somebody's trunk, head or limbs."""
    covered = np.zeros(len(points), bool)
    thick = {"trunk": 0.10, "head": 0.08, "limb": 0.045}
    pairs = [("trunk", 1, 8), ("trunk", 1, 11), ("trunk", 2, 8), ("trunk", 5, 11), ("head", 0, 1)]
    pairs += [("limb", a, b) for a, b in ((2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (11, 12), (12, 13))]
    for kind, a, b in pairs:
        line = other[b] - other[a]
        part = np.clip((points - other[a]) @ line / max(line @ line, 1e-9), 0, 1)
        distance = np.linalg.norm(points - other[a] - part[:, None] * line, axis=1)
        covered |= distance < thick[kind] * body.height
    return covered


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    side = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(side, 0)))
    return shared / (float(np.prod(one[2:] - one[:2])) + float(np.prod(other[2:] - other[:2])) - shared)
