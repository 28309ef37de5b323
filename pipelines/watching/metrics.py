"""A run's figures as Prometheus metrics: counted in the driver, exported by Ray's own endpoint as `ray_catwalk_…`."""

from __future__ import annotations

import logging
from collections import defaultdict

from ray.util import metrics

from pipelines.watching.meter import Meter

log = logging.getLogger(__name__)

# name → (kind, labels, what it is). Ray puts `ray_` before each; `cluster/grafana.json` asks for them.
METRICS: dict[str, tuple[type[metrics.Metric], tuple[str, ...], str]] = {
    "catwalk_clips": (metrics.Counter, ("run", "status"), "Clips that have ended, by how"),
    "catwalk_frames": (metrics.Counter, ("run",), "Frames of films that this session made"),
    "catwalk_film_seconds": (metrics.Counter, ("run",), "Seconds of film that this session made"),
    "catwalk_stage_seconds": (metrics.Counter, ("run", "stage"), "Seconds spent in each stage"),
    "catwalk_cache_hits": (metrics.Counter, ("run",), "Clips whose film was there already"),
    "catwalk_storage_retries": (metrics.Counter, ("run",), "Calls to storage that were tried again"),
    "catwalk_worker_deaths": (metrics.Counter, ("run",), "Tries that were a worker's death, of rows set aside for it"),
    "catwalk_workers_busy": (metrics.Gauge, ("run",), "Share of their time for which animating workers were busy"),
    "catwalk_clips_left": (metrics.Gauge, ("run",), "Clips of the plan that have not ended"),
}


class Exporter:
    """Tells Ray what has changed since the last time. What goes wrong there never ends a run."""

    def __init__(self, run_id: str) -> None:
        self._run = {"run": run_id}
        self._metrics: dict[str, metrics.Metric] = {}
        self._told: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._broken = False

    def export(self, meter: Meter, left: int, retries: int) -> None:
        """Bring every metric up to date."""
        if self._broken:
            return
        try:
            self._export(meter, left, retries)
        except Exception as error:
            self._broken = True
            log.warning("metrics are no longer exported: %s", error)

    def _export(self, meter: Meter, left: int, retries: int) -> None:
        for status, count in meter.counts.items():
            self._count("catwalk_clips", count, status=status)
        for stage, seconds in meter.seconds.items():
            self._count("catwalk_stage_seconds", seconds, stage=stage)
        self._count("catwalk_frames", meter.frames)
        self._count("catwalk_film_seconds", meter.film_seconds)
        self._count("catwalk_cache_hits", meter.counts["cached"])
        self._count("catwalk_storage_retries", retries)
        self._count("catwalk_worker_deaths", meter.worker_deaths)
        self._set("catwalk_clips_left", left)
        if (busy := meter.busy_so_far) is not None:
            self._set("catwalk_workers_busy", busy)

    def _count(self, name: str, total: float, **labels: str) -> None:
        """Raise a counter to its total: Ray takes what is added, above 0."""
        key = name, next(iter(labels.values()), "")
        if (more := total - self._told[key]) > 0:
            self._metric(name).inc(more, tags={**self._run, **labels})
            self._told[key] = total

    def _set(self, name: str, value: float) -> None:
        self._metric(name).set(value, tags=self._run)

    def _metric(self, name: str) -> metrics.Counter | metrics.Gauge:
        if name not in self._metrics:
            kind, labels, text = METRICS[name]
            self._metrics[name] = kind(name, description=text, tag_keys=labels)
        return self._metrics[name]
