"""Every required recording is reproduced within the limits that its index states."""

from tests.parity.conftest import WORST
from tests.parity.recording import Case
from tests.parity.runners import RUNNERS


def test_recording_is_reproduced(case: Case) -> None:
    runners = RUNNERS[case.recording.index["system"]](case.recording)
    complaints = []
    for call in case.calls():
        kind = call["kind"]
        assert hasattr(runners, kind), f"no runner for the kind of call {kind!r}"
        for label, record in case.records(call):
            inputs = {role: case.input(role, reference, record) for role, reference in call["inputs"].items()}
            results = getattr(runners, kind)(case.params(call, record), **inputs)
            for role, reference in call["expected"].items():
                assert role in results, f"{label}: the runner returned no {role}"
                for found in case.compare(reference, results[role], record, role):
                    key = (case.recording.index["system"], kind, found.metric)
                    WORST[key] = max(WORST.get(key, 0.0), found.worst)
                    if found.complaint:
                        complaints.append(f"{label}: {found.complaint}")
    assert not complaints, "\n".join(complaints)
    assert not case.uncompared(), f"expected but never compared: {sorted(case.uncompared())}"
