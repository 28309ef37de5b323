"""Motions: postures as continuous functions of time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipelines.training.people.key_poses import KEY_POSES, step_poses
from pipelines.training.people.pose import Arm, Leg, Pose, between, mirrored


@dataclass(frozen=True)
class Motion:
    """A motion by its name (one of MOTIONS) in the variation of a seed."""

    name: str
    seed: int = 0

    @staticmethod
    def named(name: str, seed: int = 0) -> "Motion":
        """The motion of this name; raises ValueError for an unknown one."""
        if name not in MOTIONS:
            raise ValueError(f"no motion {name!r}; there are {', '.join(MOTIONS)}")
        return Motion(name, seed)

    def pose(self, seconds: float) -> Pose:
        """The posture at this time."""
        style = _style(self.seed)
        moment = seconds * style.pace + style.start
        pose = _FUNCTIONS[self.name](moment, style)
        pose = pose._replace(yaw=pose.yaw + style.view)
        return mirrored(pose) if style.flipped else pose


@dataclass(frozen=True)
class Style:
    """The variation of a motion."""

    pace: float
    start: float  # seconds
    size: float  # about 1: how far limbs swing
    view: float  # degrees
    flipped: bool
    kind: int
    steps: tuple[Pose, ...]


@lru_cache(maxsize=1024)
def _style(seed: int) -> Style:
    """Seed 0 is the plain variation; others differ in pace, size, view and side."""
    rng = np.random.default_rng([seed, 71])
    steps = step_poses(rng)
    if seed == 0:
        return Style(1.0, 0.0, 1.0, 0.0, False, 0, steps)
    view = rng.normal(0, 22) if rng.random() < 0.78 else rng.uniform(-180, 180)
    pace, size = rng.uniform(0.75, 1.25), rng.uniform(0.8, 1.15)
    return Style(pace, rng.uniform(0, 8), size, view, bool(rng.random() < 0.5), int(rng.integers(1000)), steps)


def random_motion(seed: int) -> Motion:
    """A motion drawn by a seed."""
    rng = np.random.default_rng([seed, 72])
    return Motion(str(rng.choice(MOTIONS, p=_CHANCES)), seed)


def _wave(seconds: float, period: float, shift: float = 0.0) -> float:
    return float(np.sin(2 * np.pi * (seconds / period + shift)))


def _limbs(arms: Sequence[Arm], legs: Sequence[Leg]) -> tuple[Arm, Arm, Leg, Leg]:
    (left_arm, right_arm), (left_leg, right_leg) = arms, legs
    return left_arm, right_arm, left_leg, right_leg


def _walk(t: float, style: Style) -> Pose:
    """A catwalk walk; half of the variations drift slightly across the picture."""
    step, double = _wave(t, 1.1), _wave(t, 0.55, 0.25)
    arms, legs = [], []
    for side in (1, -1):
        phase = 0.0 if side > 0 else 0.5
        swing, raise_ = _wave(t, 1.1, phase), max(0.0, _wave(t, 1.1, phase + 0.25))
        knee = 6 + 46 * style.size * raise_**1.5
        legs.append(Leg(1.0, 24 * style.size * swing + 0.28 * knee, knee, 14 * raise_ - 5 * swing, 6))
        back = -26 * style.size * swing
        arms.append(Arm(12, back, 8, back + 20 + 8 * max(0.0, -swing)))
    across = 0.05 * _wave(t, 7.0) if style.kind % 2 else 0.0
    turn = 42 * _wave(t, 5.2) if style.kind % 3 == 1 else 0.0
    return Pose(
        turn, 2, 0, -7 * step, 3.5 * step, 6 * step, 0, 0, across, 0.006 * (1 + double), 0.0, *_limbs(arms, legs)
    )


def _turn(t: float, style: Style) -> Pose:
    """A turn on the spot: all the way round, or to and fro."""
    kind = style.kind % 3
    yaw = (62 * t, 120 * _wave(t, 5.0), 24 * t)[kind]
    shift = _wave(t, 1.3)
    arm = 16 + 9 * style.size * (0.5 + 0.5 * _wave(t, 2.6))
    step = [Leg(4, 5 * max(0.0, s * shift) + 3, 8 * max(0.0, s * shift) + 4, 5 * max(0.0, s * shift)) for s in (1, -1)]
    arms = Arm(arm, -4 + 5 * shift, arm - 7, 14), Arm(arm, -4 - 5 * shift, arm - 7, 14)
    return Pose(
        yaw, 0, 1.5 * shift, 5 * _wave(t, 2.6), 2 * shift, 9 * _wave(t, 2.6), 0, 0, 0, 0, 0.5, *_limbs(arms, step)
    )


def _dance(t: float, style: Style) -> Pose:
    return (_groove, _disco, _twist, _side_step)[style.kind % 4](t, style)


def _groove(t: float, style: Style) -> Pose:
    """Bouncing knees, bent arms pumping in turn."""
    beat, bounce = _wave(t, 1.2), 0.5 + 0.5 * _wave(t, 0.6)
    k, z = 14 + 22 * bounce, style.size
    arms = [Arm(28 + 8 * s * beat, 8 + 30 * s * beat * z, 18, 70 + 34 * s * beat * z) for s in (1, -1)]
    legs = [Leg(9 + s * 5 * beat, k * 0.5, k, 0, 20) for s in (1, -1)]
    return Pose(
        14 * beat, 5, 7 * beat, 10 * beat, 5 * beat, -10 * beat, 4 * bounce, 5 * beat, 0, 0, 1, *_limbs(arms, legs)
    )


def _disco(t: float, style: Style) -> Pose:
    """One arm points up and down across the body, the other rests on the hip."""
    beat, hip = _wave(t, 1.8), _wave(t, 0.9)
    up = 0.5 + 0.5 * beat
    pointing = Arm(25 + 108 * up, 30 - 20 * up, -25 + 172 * up, 34 - 22 * up)
    legs = Leg(10 - 4 * hip, 6, 10 + 7 * hip, 0, 20), Leg(10 + 4 * hip, 6, 10 - 7 * hip, 0, 20)
    return Pose(-8 * beat, 0, -6 * hip, 12 * beat, -5 * hip, 10 * beat, -5 * up, 0, 0, 0, 1, _ON_HIP, pointing, *legs)


def _twist(t: float, style: Style) -> Pose:
    """Hips against shoulders with bent knees."""
    beat, slow = _wave(t, 0.9), _wave(t, 3.6)
    z = style.size
    arms = [Arm(38 + 6 * s * slow, 10 - 22 * s * beat * z, 30, 62 - 26 * s * beat * z) for s in (1, -1)]
    legs = [Leg(7, 18 + 5 * s * slow, 36 + 9 * s * slow, 0, 10 + 12 * s * beat) for s in (1, -1)]
    return Pose(22 * beat * z, 7, 4 * slow, -40 * beat * z, 0, 14 * beat, 0, 4 * slow, 0, 0, 1, *_limbs(arms, legs))


def _side_step(t: float, style: Style) -> Pose:
    """Steps from side to side with both arms swinging up."""
    beat, up = _wave(t, 2.0), 0.5 - 0.5 * _wave(t, 1.0, 0.25)
    arms = [Arm(28 + 76 * up, 16, 28 + 128 * up, 22) for _ in (1, -1)]
    legs = [Leg(5 + 12 * up, 4 + 6 * max(0.0, s * beat), 8 + 16 * max(0.0, s * beat), 0, 18) for s in (1, -1)]
    return Pose(12 * beat, 0, 8 * beat, 0, 3 * beat, 6 * beat, 0, 7 * beat, 0.045 * beat, 0, 1, *_limbs(arms, legs))


_ON_HIP = Arm(44, -10, -48, 18)


def _wave_hand(t: float, style: Style) -> Pose:
    """One hand waves overhead or at the shoulder, the other hangs or rests on the hip."""
    swing, sway = _wave(t, 0.8), _wave(t, 3.0)
    high = style.kind % 2
    waving = Arm(104 + 14 * high, 8, 158 + 24 * swing * style.size, 12)
    other = _ON_HIP if style.kind % 3 == 0 else Arm(12 + sway, 0, 8, 14)
    legs = Leg(4 + 2 * sway, 0, 3), Leg(4 - 2 * sway, 0, 3)
    return Pose(8 * sway, 0, -3 * sway, 4 * sway, 2 * sway, 8, 0, 5 * sway, 0, 0, 1, other, waving, *legs)


def _jumping_jack(t: float, style: Style) -> Pose:
    """Arms and legs open and close, with a hop each time."""
    opened = 0.5 - 0.5 * float(np.cos(2 * np.pi * t / 1.2))
    hop = abs(float(np.sin(2 * np.pi * t / 1.2)))
    arm = Arm(14 + 134 * opened, 3, 10 + 150 * opened, 8)
    crouch = 22 * (1 - hop) ** 2
    leg = Leg(2 + 21 * opened * style.size, crouch * 0.5, crouch + 2, 22 * hop, 16)
    return Pose(0, 3 * (1 - hop), 0, 0, 0, 0, 0, 0, 0, 0.035 * hop, 1, arm, arm, leg, leg)


def _sway(t: float, style: Style) -> Pose:
    """Weight goes slowly from one leg to the other."""
    s, late = _wave(t, 2.6), _wave(t, 2.6, -0.12)
    z = style.size
    legs = Leg(4 + 6 * s * z, 3, 5 - 4 * s), Leg(4 - 6 * s * z, 3, 5 + 4 * s)
    arms = Arm(13 + 5 * late, 4 * late, 8 + 7 * late, 16), Arm(13 - 5 * late, -4 * late, 8 - 7 * late, 16)
    return Pose(6 * late, 0, -6 * s * z, 6 * late, -4 * s, 8 * late, 0, 7 * s, 0, 0, 1, *_limbs(arms, legs))


def _squat(t: float, style: Style) -> Pose:
    """Knees bend while the arms come forward."""
    deep = (0.5 - 0.5 * float(np.cos(2 * np.pi * t / 2.2))) * min(style.size, 1.05)
    arm = Arm(11 + 6 * deep, 76 * deep, 7 + 6 * deep, 12 + 70 * deep)
    leg = Leg(4 + 9 * deep, 68 * deep, 3 + 102 * deep, 0, 24)
    return Pose(0, 28 * deep, 0, 0, 0, 0, -16 * deep, 0, 0, 0, 1, arm, arm, leg, leg)


def _reach(t: float, style: Style) -> Pose:
    """One arm after the other reaches up and to the side."""
    s = _wave(t, 3.2)
    left, right = max(0.0, s) ** 1.2, max(0.0, -s) ** 1.2
    arms = [Arm(13 + 130 * u, 6, 8 + 142 * u, 14) for u in (left, right)]
    legs = Leg(7 + 3 * s, 0, 3 + 10 * right), Leg(7 - 3 * s, 0, 3 + 10 * left)
    return Pose(10 * s, 0, -9 * s * style.size, 5 * s, 3 * s, 14 * s, -8 * abs(s), 0, 0, 0, 1, *_limbs(arms, legs))


def _kick(t: float, style: Style) -> Pose:
    """One leg after the other swings forward or to the side, arms held out for balance."""
    s = _wave(t, 2.4)
    legs, arms = [], []
    for side in (1, -1):
        up = max(0.0, side * s) ** 1.2 * style.size
        forward, out = ((58 * up, 3.0), (8 * up, 3 + 44 * up))[style.kind % 2]
        legs.append(Leg(out, forward, 4 + 16 * up * (1 - up), 20 * up, 8))
        arms.append(Arm(30 + 26 * abs(s), 12 * s * side, 36 + 30 * abs(s), 18 + 12 * s * side))
    return Pose(0, -4 * abs(s), -5 * s, 8 * s, 0, 0, 0, 0, 0, 0, 0, *_limbs(arms, legs))


def _key_poses(t: float, style: Style) -> Pose:
    """Catalogue poses one after the other: held, then changed smoothly."""
    number, share = divmod(t / 1.3, 1)
    share = min(1.0, max(0.0, (share - 0.2) / 0.8))
    steps = style.steps
    start, end = steps[int(number) % len(steps)], steps[(int(number) + 1) % len(steps)]
    return between(start, end, share * share * (3 - 2 * share))


_FUNCTIONS: dict[str, Callable[[float, Style], Pose]] = {
    "walk": _walk,
    "turn": _turn,
    "dance": _dance,
    "wave": _wave_hand,
    "jumping_jack": _jumping_jack,
    "sway": _sway,
    "squat": _squat,
    "reach": _reach,
    "kick": _kick,
    "key_poses": _key_poses,
}
MOTIONS: tuple[str, ...] = tuple(_FUNCTIONS)
_CHANCES = (0.17, 0.16, 0.2, 0.09, 0.06, 0.07, 0.05, 0.06, 0.05, 0.09)


def standing(seed: int) -> Pose:
    """A catalogue pose for a reference picture: near-front view, standing, in small variations."""
    rng = np.random.default_rng([seed, 73])
    pose = KEY_POSES[int(rng.choice(5, p=(0.4, 0.2, 0.15, 0.1, 0.15)))]
    if rng.random() < 0.5:
        pose = mirrored(pose)
    small = {name: getattr(pose, name) + rng.normal(0, 2.0) for name in ("tilt", "hips", "nod", "roll", "twist")}
    return pose._replace(yaw=pose.yaw + rng.normal(0, 9), look=pose.look + rng.normal(0, 5), **small)
