"""Which animator makes a clip that names none, and which could make one that its own cannot."""

from __future__ import annotations

from typing import Any

from manifests.clip import parse_clip
from manifests.errors import Problem, Rejected, WrongUsage
from pipelines.configuration import RunConfig
from pipelines.progress import Say
from stages.diffusion.animator import Facts
from stages.diffusion.animators import ANIMATORS
from stages.suitability import check_suitable

BUNDLED = "bundled with Catwalk, for drawn references only"


def with_animator(config: RunConfig, fields: dict[str, Any], say: Say) -> dict[str, Any]:
    """The row with an animator: its own, else the last configured one, else the bundled one; says which was chosen.

    Raises `WrongUsage` for a row that names weights without saying whose they are.
    """
    if fields.get("animator"):
        return fields
    if fields.get("checkpoint"):
        raise WrongUsage("checkpoint: is given without the animator whose weights it holds", "add --animator NAME")
    configured = [name for name in config.checkpoints if name in ANIMATORS]
    # the command line is laid over the file, and stands last
    name = configured[-1] if configured else next(facts.name for facts in ANIMATORS.values() if facts.bundled)
    if configured:
        others = f", as are {', '.join(configured[:-1])}" if configured[:-1] else ""
        say(f"animator {name}: configured{others}; --animator NAME chooses another")
    else:
        say(f"animator {name}: {BUNDLED}; for another, --checkpoint NAME=FOLDER (stages/diffusion/README.md)")
    return {**fields, "animator": name}


def with_what_works(problem: Problem, config: RunConfig, fields: dict[str, Any]) -> Problem:
    """The problem; where the row's animator lacks something, its remedy also names those that lack nothing."""
    able = [facts for facts in ANIMATORS.values() if _lacks_nothing(facts, config, fields)]
    if not able or fields["animator"] in [facts.name for facts in able]:
        return problem
    named = " or ".join(f"--animator {facts.name}" + (f" ({BUNDLED})" if facts.bundled else "") for facts in able)
    return type(problem)(problem.error, f"{problem.remedy}; what works now: {named}")


def _lacks_nothing(facts: Facts, config: RunConfig, fields: dict[str, Any]) -> bool:
    """Whether an animator has weights, estimators and inputs for a row. No file is looked at."""
    if not (facts.bundled or not facts.checkpoint or facts.name in config.checkpoints):
        return False
    clip, _ = parse_clip({**fields, "animator": facts.name})
    if clip is None:
        return False
    try:
        check_suitable(clip, facts, config.estimators)
    except Rejected:
        return False
    return True
