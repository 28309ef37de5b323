"""One runner per system: a class with one method per kind of call."""

from tests.parity.runners.magicanimate import MagicAnimateRunners
from tests.parity.runners.pose import PoseRunners

RUNNERS = {"magicanimate": MagicAnimateRunners, "pose": PoseRunners}
