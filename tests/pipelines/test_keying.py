"""Keys as they stand in users' storage: a change here makes every film of that system again."""

from __future__ import annotations

import pytest

from manifests import layout
from manifests.clip import Clip
from stages.diffusion.animators import ANIMATORS

POSES = "c911c10f90bb9caf3795feeb6ecc3502"
LATENTS_AND_FILMS = {
    "magicanimate": ("afb037cf1e5a67f316b64f652a77cfc5", "22c1d8ae6a2bb4669380d557f99d5fa3"),
    "animate_anyone": ("5658605da3d2e4062f37a7d6348f3047", "73fa26702c6a3f34fc925b6d004d6f42"),
    "dreampose": ("c0088960d53628ad406e4ffacb3340d3", "f00c25e4b95a79cc888f4208168d6446"),
    "text2video_zero": ("d60b8e2f24a66f9e2f6045b877d59fab", "2f47fa74f547ba700c4082771a2aaa7d"),
}


@pytest.mark.parametrize("name", LATENTS_AND_FILMS)
def test_films_made_before_are_found_again(name: str) -> None:
    facts = ANIMATORS[name]
    clip = Clip(
        id="a",
        animator=name,
        width=512,
        height=512,
        fit="cover",
        fps="30000/1001",
        steps=facts.steps,
        guidance=facts.guidance,
        window=facts.window,
        overlap=facts.overlap,
        options=facts.options().model_dump(),
    )
    recipe = {"estimator": "none", "stored": "frames", "channels": "as_trained"}
    poses = layout.pose_key("d" * 64, recipe, None)
    reference = layout.reference_key("a" * 64)
    latents = layout.latents_key(clip, reference, [poses, None], "c" * 64, "float32", [(0, 16)])
    film = layout.film_key(clip, [latents], {"crf": 18}, None)
    assert (poses, (latents, film)) == (POSES, LATENTS_AND_FILMS[name])
