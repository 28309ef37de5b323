"""One runner per system: a class with one method per kind of call."""

from tests.parity.runners.animate_anyone import AnimateAnyoneRunners
from tests.parity.runners.magicanimate import MagicAnimateRunners
from tests.parity.runners.pose import PoseRunners

RUNNERS = {"animate_anyone": AnimateAnyoneRunners, "magicanimate": MagicAnimateRunners, "pose": PoseRunners}
