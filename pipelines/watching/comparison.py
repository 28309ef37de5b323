"""What a run came to beside what was planned, and what it cost."""

from __future__ import annotations

from typing import Any

from pipelines.configuration import Price
from pipelines.planning.forecast import Figures
from pipelines.progress import clock

HOUR = 3600.0


def compared(planned: Figures, session: dict[str, Any], wall_seconds: float) -> dict[str, Any]:
    """Planned, actual, and how many times the one the other is, of everything that both know."""
    pairs = {
        "films": (planned.films, session["done"]),
        "frames": (planned.frames, session["frames"]),
        "film_seconds": (planned.film_seconds, session["film_seconds"]),
        "wall_seconds": (planned.wall_seconds, wall_seconds),
        "worker_seconds": (planned.worker_seconds, session["worker_seconds"]),
        "cpu_seconds": (planned.cpu_seconds, session["cpu_seconds"]),
        "gpu_hours": (planned.gpu_hours, session["gpu_hours"]),
        "gpu_hours_held": (planned.gpu_hours_held, session["gpu_hours_held"]),
    }
    return {
        name: {"planned": round(there, 6), "actual": round(came, 6), "ratio": round(came / there, 3)}
        for name, (there, came) in pairs.items()
        if there
    }


def economy(summary: dict[str, Any], price: Price) -> dict[str, Any]:
    """What a second of film took: of all films that this run made, and of those that nobody has to look at.

    Nothing of it is known where no GPU was held, and no money where no price is configured.
    """
    held, made = summary["gpu_hours_held"], summary["film_seconds_made"]
    if not held or not made:
        return {}
    found: dict[str, Any] = {"film_seconds_per_gpu_hour": round(made / held, 3)}
    if price.gpu_hour is not None:
        cost, accepted = held * price.gpu_hour, summary["film_seconds_accepted"]
        found |= {"cost": round(cost, 6), "currency": price.currency, "cost_per_film_second": round(cost / made, 6)}
        if accepted:
            found["cost_per_accepted_second"] = round(cost / accepted, 6)
    return found


def economy_lines(summary: dict[str, Any]) -> list[str]:
    """The same, the slowest clips and the plan as a person reads them."""
    lines = []
    if (busy := summary["session"]["busy"]) is not None:
        lines.append(f"  workers were busy for {busy:.0%} of their time")
    if rate := summary.get("film_seconds_per_gpu_hour"):
        line = f"  {rate:,.1f} s of film for each GPU-hour held"
        if "cost" in summary:
            unit = summary["currency"]
            line += f"; {summary['cost']:,.2f} {unit}, {summary['cost_per_film_second']:,.3g} a second of film"
        if "cost_per_accepted_second" in summary:
            line += f", {summary['cost_per_accepted_second']:,.3g} a second that nobody has to look at"
        lines.append(line)
    if slowest := summary["slowest"]:
        named = ", ".join(f"row {one['row']} ({one['id']}) {clock(one['seconds'])}" for one in slowest[:3])
        lines.append(f"  slowest: {named}")
    if plan := summary.get("plan"):
        told = [
            f"{name.replace('_', ' ')} {plan[name]['ratio']:.2f}"
            for name in ("wall_seconds", "worker_seconds", "cpu_seconds", "gpu_hours_held")
            if name in plan
        ]
        lines.append(f"  against the plan: {', '.join(told)} times what was expected")
    return lines
