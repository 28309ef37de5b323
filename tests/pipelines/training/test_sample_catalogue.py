"""The sample catalogue: drawn by our own code, committed as that code draws it, ready to animate."""

import json
import subprocess
import sys
from datetime import date
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manifests.clip import parse_clip
from manifests.consent.record import ROLES
from manifests.consent.register import Register
from pipelines.demo import CATALOGUE, demo_config
from pipelines.training.catalogue import DRIVING, FPS, FRAMES, HEIGHT, REFERENCES, WIDTH, clips, driving_frames
from stages.video.limits import Limits
from stages.video.read import Frames


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    subprocess.run(
        [sys.executable, "-m", "pipelines.training.catalogue", str(folder)], check=True, cwd=CATALOGUE.parents[2]
    )
    return folder


def film(path: Path) -> np.ndarray:
    return np.stack(list(Frames(path, Limits()).read()))


def test_the_committed_catalogue_is_what_the_command_draws(drawn: Path) -> None:
    assert sorted(p.name for p in drawn.iterdir()) == sorted(p.name for p in CATALOGUE.iterdir())
    for text in ("clips.jsonl", "consents.json"):
        assert (drawn / text).read_text() == (CATALOGUE / text).read_text()
    for person in REFERENCES:
        with Image.open(drawn / f"{person}.png") as new, Image.open(CATALOGUE / f"{person}.png") as committed:
            assert committed.size == (WIDTH, HEIGHT)
            # floating-point functions differ in their last bit from one processor to another
            assert np.abs(np.asarray(new).astype(int) - np.asarray(committed)).max() <= 1
    for motion in DRIVING:
        new, committed = film(drawn / f"{motion}.mp4"), film(CATALOGUE / f"{motion}.mp4")
        assert len(new) == len(committed) == FRAMES
        assert np.abs(new.astype(int) - committed).mean() < 1


def test_the_manifest_is_six_clips_of_people_who_perform_what_somebody_else_did() -> None:
    rows = [json.loads(line) for line in (CATALOGUE / "clips.jsonl").read_text().splitlines()]
    assert rows == clips()
    assert len({(row["reference"], row["driving"]) for row in rows}) == len({row["id"] for row in rows}) == 6
    assert all((CATALOGUE / row[field]).is_file() for row in rows for field in ("reference", "driving"))
    assert all(parse_clip(row)[0] is not None for row in rows)
    assert not set(REFERENCES.values()) & {person for person, _ in DRIVING.values()}


def test_every_row_has_the_consents_that_the_demo_requires() -> None:
    config = demo_config().consent
    assert config.mode == "required"
    for row in clips():
        named = {role: row[f"{role}_consent"] for role in ROLES}
        assert Register(config, lambda: date(2026, 11, 29)).consents(named, ROLES).missing == ()


def test_everybody_in_the_catalogue_is_unknown_to_the_bundled_animator() -> None:
    from pipelines.training.pictures import HELD_OUT

    assert min(*REFERENCES.values(), *(person for person, _ in DRIVING.values())) >= HELD_OUT


def test_the_catalogue_stays_small() -> None:
    assert sum(p.stat().st_size for p in CATALOGUE.iterdir()) < 400_000


@pytest.mark.parametrize("motion", DRIVING)
def test_a_driving_video_shows_what_was_drawn_at_its_rate(motion: str) -> None:
    true, stored = driving_frames(motion), Frames(CATALOGUE / f"{motion}.mp4", Limits())
    assert stored.facts.fps == Fraction(FPS)
    assert np.abs(film(CATALOGUE / f"{motion}.mp4").astype(int) - true).mean() < 3
    assert (np.abs(np.diff(true.astype(int), axis=0)).max(axis=(1, 2, 3)) > 40).all(), "the person stands still"
