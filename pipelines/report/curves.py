"""How the measures of a film went over its time, from its marker, small enough for a page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from manifests.layout import Film, OutputLayout
from manifests.results import Result
from stages.video.quality.curve import MOST_POINTS

_LEVELS = 255


def curves_of(results: Sequence[Result], layout: OutputLayout) -> dict[int, dict[str, Any]]:
    """Packed curves by measure, by row; of films that have any."""
    made = [one for one in results if one.good and one.id and one.film_key]
    markers = layout.read_film_markers([Film(str(one.id), str(one.film_key)) for one in made])
    found = {one.row: _packed((marker or {}).get("curves")) for one, marker in zip(made, markers, strict=True)}
    return {row: curves for row, curves in found.items() if curves}


def _packed(curves: Any) -> dict[str, Any]:
    """[lowest, highest, a byte for each point as base64] of each curve; what is no curve is left out."""
    packed = {}
    for name, given in curves.items() if isinstance(curves, dict) else ():
        try:
            points = np.asarray(given, dtype=np.float64)[:MOST_POINTS]
        except (TypeError, ValueError):
            continue
        if points.ndim == 1 and len(points) > 1 and np.isfinite(points).all():
            lowest, highest = float(points.min()), float(points.max())
            levels = np.round((points - lowest) * (_LEVELS / ((highest - lowest) or 1.0))).astype(np.uint8)
            packed[str(name)] = [_short(lowest), _short(highest), base64.b64encode(levels.tobytes()).decode()]
    return packed


def _short(value: float) -> float:
    return float(f"{value:.6g}")
