"""Every required recording is reproduced within the limits that its index states."""

from collections.abc import Callable

from tests.parity.conftest import ERRORS
from tests.parity.recording import Case
from tests.parity.runners import RUNNERS


def test_recording_is_reproduced(case: Case, record_property: Callable[[str, object], None]) -> None:
    system = case.recording.index["system"]
    complaints, errors = [], []
    record_property(ERRORS, errors)
    for kind, label, found in case.replayed(RUNNERS[system](case.recording)):
        errors.append((system, kind, found.metric, found.worst))
        if found.complaint:
            complaints.append(f"{label}: {found.complaint}")
    assert not complaints, "\n".join(complaints)
    assert not case.uncompared(), f"expected but never compared: {sorted(case.uncompared())}"
