"""One runner per system: a class with one method per kind of call."""

from tests.parity.runners.animate_anyone import AnimateAnyoneRunners
from tests.parity.runners.dreampose import DreamPoseRunners
from tests.parity.runners.magicanimate import MagicAnimateRunners
from tests.parity.runners.pose import PoseRunners
from tests.parity.runners.text2video_zero import Text2VideoZeroRunners
from tests.parity.runners.wan_animate import WanAnimateRunners
from tests.parity.runners.wan_vace import WanVaceRunners

RUNNERS = {
    "animate_anyone": AnimateAnyoneRunners,
    "dreampose": DreamPoseRunners,
    "magicanimate": MagicAnimateRunners,
    "pose": PoseRunners,
    "text2video_zero": Text2VideoZeroRunners,
    "wan_animate": WanAnimateRunners,
    "wan_vace": WanVaceRunners,
}
