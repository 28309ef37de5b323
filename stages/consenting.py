"""Whose consent a clip needs, and whether it is there now."""

from __future__ import annotations

from manifests.clip import Clip
from manifests.consent.consents import Consents
from manifests.consent.record import Role
from manifests.consent.register import Register
from stages.diffusion.animators import facts_of
from stages.driving import driven


def consents_of(clip: Clip, register: Register, now: bool = False) -> Consents:
    """What a clip is made under; `now` looks at the records at this very moment. Raises as `Register.consents`.

    Whoever is in the reference image is shown, whoever is in the driving file is moved like, were it only as keypoints.
    """
    facts = facts_of(clip.animator)
    needed: list[Role] = ["likeness"] if facts.reference else []
    if driven(clip, facts):
        needed.append("performer")
    return register.consents(given_by(clip), needed, now)


def given_by(clip: Clip) -> dict[Role, str | None]:
    """The ids of records that a clip names."""
    return {"likeness": clip.likeness_consent, "performer": clip.performer_consent}
