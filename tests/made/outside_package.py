"""A package as another author would write one: an animator that mirrors its reference, under an entry point."""

from __future__ import annotations

from pathlib import Path

MIRROR = '''
"""An animator without weights: the reference, mirrored, with the pose over it."""

import numpy as np

from stages.diffusion.animator import Denoised, Facts


class Mirror:
    facts = Facts(
        name="mirror",
        implementation="my_package.mirror:Mirror",
        pose="skeleton",
        reference=True,
        size_multiple=2,
        native_size=(48, 64),
        window=16,
        window_limits=(1, 1000),
        overlap=0,
        steps=1,
        guidance=(),
        checkpoint=(),
        licence="MIT",
        revision="1",
    )
    nbytes = 0

    @classmethod
    def load(cls, checkpoint, device, dtype, lora=None):
        return cls()

    def segment(self, clip, reference, driving, segment):
        import torch

        mirrored = np.ascontiguousarray(reference[:, ::-1])
        return Denoised(torch.from_numpy(mirrored).expand(len(segment), *mirrored.shape).float())

    def frames(self, parts, clip):
        for _, latents in parts:
            yield latents.numpy().round().astype(np.uint8)
'''

METADATA = "Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n"
ENTRY_POINTS = "[catwalk.animators]\nmirror = my_package.mirror:Mirror\n"


def write_package(site: Path) -> Path:
    """Put the package, installed as pip leaves one, into the folder `site`, for PYTHONPATH."""
    package, about = site / "my_package", site / "my_package-1.0.dist-info"
    for folder in (package, about):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "mirror.py").write_text(MIRROR)
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return site
