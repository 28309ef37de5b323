"""What a run counts is what Prometheus reads and what the dashboard asks for."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from typing import Any

import pytest
import ray
from ray.util import metrics

from manifests.results import Result
from pipelines.watching.meter import Meter
from pipelines.watching.metrics import METRICS, Exporter
from tests.conftest import CHECKOUT

DASHBOARD = json.loads((CHECKOUT / "cluster" / "grafana.json").read_text(encoding="utf-8"))


def exported_names() -> dict[str, set[str]]:
    """As Ray exports them, with their labels."""
    return {
        f"ray_{name}_total" if kind is metrics.Counter else f"ray_{name}": set(labels)
        for name, (kind, labels, _) in METRICS.items()
    }


def queries() -> list[str]:
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [*asked, *(one["query"]["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query")]


def test_the_dashboard_asks_for_what_is_exported_and_for_all_of_it() -> None:
    asked = {name for query in queries() for name in re.findall(r"ray_\w+", query)}
    assert asked == set(exported_names())


@pytest.mark.parametrize("query", queries())
def test_every_query_of_the_dashboard_goes_by_labels_that_are_there(query: str) -> None:
    (name,) = set(re.findall(r"ray_\w+", query))
    labels = set(re.findall(r"(\w+)=~?\"", query)) | set(re.findall(r"by \((\w+)\)", query))
    labels |= set(re.findall(r"label_values\(\w+, (\w+)\)", query))
    assert labels <= exported_names()[name]
    for opening, closing in ("()", "{}", "[]"):
        assert query.count(opening) == query.count(closing)


def test_what_a_session_did_is_read_from_rays_endpoint(cluster: str) -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra 'cluster': Ray exports no metrics without")
    meter, exporter = Meter(workers=1, gpus=0), Exporter("measured-night")
    meter.begins()
    film: dict[str, Any] = {"status": "done", "frames": 50, "fps": "25", "worker": "a", "seconds": {"denoise": 2.5}}
    meter.ended(Result(row=0, **film))
    meter.ended(Result(row=1, status="cached"))
    dead = {"status": "failed", "error": "worker died 3 times", "remedy": "look", "worker_deaths": 3}
    meter.ended(Result.model_validate({"row": 2, **dead}))
    exporter.export(meter, left=3, retries=2)
    meter.ended(Result(row=3, **film))
    exporter.export(meter, left=2, retries=2)
    found = scraped({"clips_left": 2.0})
    wanted = {"clips_left": 2, "frames": 100, "film_seconds": 4, "stage_seconds denoise": 5, "cache_hits": 1}
    wanted |= {"storage_retries": 2, "worker_deaths": 3, "clips done": 2, "clips cached": 1, "clips failed": 1}
    assert found.pop("workers_busy") == pytest.approx(0)
    assert found == wanted


def scraped(until: dict[str, float], seconds: float = 60) -> dict[str, float]:
    """The metrics of that night by name and label, once the endpoint has what is waited for."""
    node = next(node for node in ray.nodes() if node["Alive"])
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    found: dict[str, float] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until.items() <= found.items():
        time.sleep(1)
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        for name, labels, value in re.findall(r"^ray_catwalk_(\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
            given = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            if given["run"] == "measured-night":
                label = given.get("status") or given.get("stage") or ""
                found[f"{name.removesuffix('_total')} {label}".strip()] = float(value)
    return found
