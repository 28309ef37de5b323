"""Every required recording is reproduced within the limits that its index states."""

from tests.parity.conftest import WORST
from tests.parity.recording import Case
from tests.parity.runners import RUNNERS


def test_recording_is_reproduced(case: Case) -> None:
    system = case.recording.index["system"]
    complaints = []
    for kind, label, found in case.replayed(RUNNERS[system](case.recording)):
        key = (system, kind, found.metric)
        WORST[key] = max(WORST.get(key, 0.0), found.worst)
        if found.complaint:
            complaints.append(f"{label}: {found.complaint}")
    assert not complaints, "\n".join(complaints)
    assert not case.uncompared(), f"expected but never compared: {sorted(case.uncompared())}"
