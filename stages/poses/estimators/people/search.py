"""Everyone in a picture, however small: the detector, which sees few and large people, is shown square by square."""

from __future__ import annotations

import numpy as np

from stages.poses.estimators.people.body import HEAD, SEEN, THERE, Body, BodyNet
from stages.poses.estimators.people.detector import PersonDetector
from stages.poses.estimators.people.region import Picture, Region

SHARES = (1.0, 0.7, 0.5)  # sides of the squares, of the picture's shorter one
AROUND = (1.0, 1.5, 2.2)  # sides of the squares around somebody who was lost, of their region's
SMALLEST = 32  # pixels of a square's side: below it there is nothing to see
MOST = 64  # regions that the body net is asked about, at most
CLOSE_HEADS = 0.5  # times the larger one's size: nobody's head is nearer to another's
INSIDE = 0.7  # of a find's joints lie on a surer and larger person: it is an arm or a leg of theirs
SAME = 0.2  # of a region's side: those that differ by less show the same
SETTLED = 0.1  # likewise, of the region that a body was seen in and the one that the net sees it in
LOOKS = 4  # of the body net at somebody new, two at least
ALIKE = 0.08  # of a person's extent: joints of one person seen twice are nearer, half of them at least
ENOUGH = 4  # joints seen, to be anybody
SURE, STILL_SURE = 0.5, 0.25  # sureness of somebody new, and of somebody who was there in the frame before


def whole(picture: Picture) -> Region:
    """The square around a picture."""
    return Region(np.array([picture.width, picture.height]) / 2, float(max(picture.width, picture.height)))


def squares(width: int, height: int) -> list[Region]:
    """Squares that cover a picture, each share of its shorter side at half-overlap, largest first."""
    tiles = []
    for share in SHARES:
        side = share * min(width, height)
        if side >= SMALLEST:
            tiles += [Region(np.array([x, y]), side) for y in _centres(height, side) for x in _centres(width, side)]
    return tiles


def _centres(length: int, side: float) -> np.ndarray:
    steps = int(np.ceil(2 * (length - side) / side - 1e-9))
    return np.linspace(side / 2, length - side / 2, steps + 1) if steps else np.array([length / 2])


class Search:
    """Detector and body net together."""

    def __init__(self, detector: PersonDetector, body: BodyNet) -> None:
        self._detector, self._body = detector, body

    def at_a_glance(self, picture: Picture) -> list[Body]:
        """Large people: one look at the whole picture."""
        return self._confirmed(picture, self._detector(picture, whole(picture)))

    def around(self, picture: Picture, region: Region) -> list[Body]:
        """People near a region, of about its size: where somebody was lost."""
        squares = [region.upright(times) for times in AROUND]
        return self._confirmed(picture, [find for square in squares for find in self._detector(picture, square)])

    def thorough(self, picture: Picture) -> list[Body]:
        """Everyone: the whole picture, then square by square."""
        places = [whole(picture), *squares(picture.width, picture.height)]
        return self._confirmed(picture, [find for place in places for find in self._detector(picture, place)])

    def _confirmed(self, picture: Picture, finds: list[tuple[float, Region]]) -> list[Body]:
        bodies: list[Body] = []
        for region in _different([region for _, region in sorted(finds, key=lambda find: -find[0])])[:MOST]:
            body = self._settled(picture, region)
            if there(body, picture, SURE):
                bodies.append(body)
        return distinct(sorted(bodies, key=lambda body: -sureness(body, picture)))

    def _settled(self, picture: Picture, region: Region) -> Body:
        """The body in a region of the detector's, which is rough: looked at again where the net itself sees it."""
        body = self._body(picture, region)
        for _ in range(LOOKS - 1):
            if body.flag < THERE or (body.seen_in is not region and _same(body.seen_in, body.next, SETTLED)):
                break
            body = self._body(picture, body.next)
        return body


def _different(regions: list[Region]) -> list[Region]:
    kept: list[Region] = []
    for region in regions:
        if not any(_same(region, other) for other in kept):
            kept.append(region)
    return kept


def _same(one: Region, other: Region, tolerance: float = SAME) -> bool:
    """Whether centres and sizes differ by less than that share of the smaller one's side."""
    smaller = min(one.side, other.side)
    return max(abs(one.side - other.side), float(np.linalg.norm(one.centre - other.centre))) < tolerance * smaller


def there(body: Body, picture: Picture, least: float = STILL_SURE) -> bool:
    """Whether somebody is in the region that a body was seen in, as surely as that at least."""
    return body.flag >= THERE and int((body.scores > SEEN).sum()) >= ENOUGH and sureness(body, picture) >= least


def sureness(body: Body, picture: Picture) -> float:
    """How sure the net is of a body: 0 … 1, over the points that are in the picture."""
    shown = ((body.points >= 0) & (body.points < [picture.width, picture.height])).all(axis=1)
    return body.flag * float(body.scores[shown].mean()) if shown.any() else 0.0


def distinct(bodies: list[Body]) -> list[Body]:
    """Each person once: of bodies that are one person's, or parts of one, the first."""
    kept: list[Body] = []
    for body in bodies:
        if not any(alike(body, other) or _part(body, other) for other in kept):
            kept.append(body)
    return kept


def alike(one: Body, other: Body) -> bool:
    """Whether two bodies are one person seen twice: half of the joints that are seen in both coincide."""
    both = (one.scores > SEEN) & (other.scores > SEEN)
    if not both.any():
        return False
    apart = np.linalg.norm(one.points - other.points, axis=1)[both]
    smaller = min(_extent(body.points[body.scores > SEEN]) for body in (one, other))
    return float(np.median(apart)) < ALIKE * smaller


def _part(body: Body, person: Body) -> bool:
    """Whether a body is made up of a larger person's limbs, or has that person's head."""
    if body.next.side > person.next.side:
        return False
    heads = [one.points[HEAD] for one in (body, person)]
    if np.linalg.norm(heads[0].mean(axis=0) - heads[1].mean(axis=0)) < CLOSE_HEADS * max(map(_extent, heads)):
        return True
    return float(covered(person, body.points[body.scores > SEEN]).mean()) >= INSIDE


def covered(person: Body, places: np.ndarray) -> np.ndarray:
    """bool (n,): which places (n, 2) of the picture lie on a person, by the net's mask."""
    side = len(person.mask)
    cells = np.floor(person.seen_in.from_picture(places) * side).astype(int)
    there = ((cells >= 0) & (cells < side)).all(axis=1)
    columns, rows = np.clip(cells, 0, side - 1).T
    return there & (person.mask[rows, columns] > 0)


def _extent(points: np.ndarray) -> float:
    return float(np.hypot(*(points.max(axis=0) - points.min(axis=0))))
