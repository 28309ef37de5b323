"""Films and latents made by earlier rules for poses, although their keys are the same.

What decides it stands in no key, as it is found out by looking at poses, which is after keys are made. The report on
the poses, which is kept with both, tells; so nothing else is made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manifests.work import Work
from stages.poses.motion.absence import left_empty
from stages.poses.motion.framing import FRAMED_BY


def outdated(work: Work, report: Mapping[str, Any]) -> bool:
    """Whether a film with this report on its poses shows nobody in some frames, or may crop the reference otherwise."""
    return left_empty(report) or framed_otherwise(work, report)


def framed_otherwise(work: Work, report: Mapping[str, Any]) -> bool:
    """Whether the reference was cropped without a look at where its person is, or by another rule."""
    return work.crops_around_person and report.get("framed_by") != FRAMED_BY
