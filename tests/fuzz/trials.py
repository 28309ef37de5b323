"""What a mutated file goes through: the very stages of a run that would read it, and what may come of that."""

from __future__ import annotations

import re
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cluster.kube.configuration import KubeConfig
from manifests import check, table
from manifests.build import build
from manifests.errors import Problem, Rejected, WrongUsage
from manifests.work import Weights
from pipelines import stage_of
from pipelines.configuration import RunConfig
from pipelines.keying import Keying
from pipelines.manifest_reading import look_at
from pipelines.settings import settled
from stages.checkpoint_files import lora_at
from stages.diffusion.animators import ANIMATORS, load_animator
from stages.poses.files.keypoint_file import read_keypoints
from stages.sandbox.process import Fault
from tests.fuzz.specimen import Outcome, Specimen, Status
from tests.fuzz.specimens import CHECKPOINT, MARK
from tests.made import dreampose_media
from tests.made.sample_media import write_driving, write_reference

STILL = {"animator": "still", "driving_kind": "skeleton", "width": 48, "height": 64}
LONGEST_MESSAGE = 4000
_UNSEEMLY = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


class Trials:
    """What reads each kind of file, in this process, around one folder of a run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_reference(folder / "reference.png")
        write_driving(folder / "driving.mp4")
        self._folder = folder
        self._checkpoint = folder / "checkpoint"
        shutil.copytree(CHECKPOINT, self._checkpoint, dirs_exist_ok=True)
        config = RunConfig.load(
            None,
            {
                "animators": {"still": "tests.made.poison:Still"},
                "checkpoints": {
                    "magicanimate": str(self._checkpoint),
                    "dreampose": str(folder / "dreampose"),
                },
            },
        )
        self._settings = settled(config, str(folder / "manifest.parquet"), str(folder / "out"), "fuzz")
        self._validate = stage_of.validate(self._settings)
        self._keying = Keying(self._settings)
        self._poses, self._inputs = stage_of.extract_pose(self._settings), stage_of.prepare_inputs(self._settings)
        self._number = 0

    def __call__(self, specimen: Specimen) -> Outcome:
        """Put the file where it belongs and let the stages have it; afterwards it is gone."""
        self._number += 1
        path = self._folder / f"{self._number}-{specimen.name}"
        read: dict[str, Callable[[Specimen, Path], None]] = {
            "checkpoint": self._checkpoint_file,
            "lora": self._lora,
            "poses": lambda _, path: read_keypoints(path) and None,
            "table": self._table,
            "config": lambda _, path: RunConfig.load(path) and None,
            "cluster": lambda _, path: KubeConfig.load(path) and None,
            "source": self._source,
        }
        path.write_bytes(specimen.data)
        try:
            return ended(lambda: read.get(specimen.kind, self._media)(specimen, path))
        finally:
            path.unlink(missing_ok=True)
            if self._number % 50 == 0:
                shutil.rmtree(self._folder / "out", ignore_errors=True)

    def row(self, **fields: Any) -> None:
        """What a run does with a row before its animator is asked."""
        work = self._keying(self._validate(0, {"id": "a", **fields}))
        self._poses.for_driving(work)
        self._inputs(work)

    def _media(self, specimen: Specimen, path: Path) -> None:
        good = {"reference": "reference.png", "driving": "driving.mp4"}
        if specimen.kind == "image":
            self.row(**STILL, **{**good, "reference": path.name})
        elif specimen.kind == "keypoints":
            self.row(**{**STILL, "driving_kind": "keypoints", "fps": 25}, **{**good, "driving": path.name})
        elif specimen.kind == "densepose_uv":
            if not (self._folder / "dreampose").exists():
                dreampose_media.write_checkpoint(self._folder / "dreampose")
            uv = {"animator": "dreampose", "driving_kind": "densepose_uv", "width": 64, "height": 128}
            self.row(**uv, **{**good, "driving": path.name})
        else:
            sound = "driving" if specimen.kind == "sound" else "drop"
            self.row(**STILL, **{**good, "driving": path.name}, audio=sound)

    def _checkpoint_file(self, specimen: Specimen, path: Path) -> None:
        place, kept = self._checkpoint / specimen.place, CHECKPOINT / specimen.place
        shutil.copyfile(path, place)
        try:
            load_animator("magicanimate", self._checkpoint, "cpu", torch.float32)
        finally:
            shutil.copyfile(kept, place)
            assert not Path(MARK).exists(), "the code in a pickle was run"

    def _lora(self, specimen: Specimen, path: Path) -> None:
        row = {"animator": "magicanimate", "driving_kind": "densepose", "width": 48, "height": 64, "lora": path.name}
        work = self._validate(0, {"id": "a", "reference": "reference.png", "driving": "driving.mp4", **row})
        assert work.lora is not None
        load_animator("magicanimate", CHECKPOINT, "cpu", torch.float32, lora_at(Weights(**work.lora.model_dump()), 1.0))

    def _table(self, specimen: Specimen, path: Path) -> None:
        """As the command looks at a manifest, and then `manifest check`; both have to agree on what is readable."""
        try:
            look_at(str(path))
            for _, read in table.read_files(str(path)):
                for row in table.rows(read):
                    self._validate_only(row)
        except Problem:
            assert not check.check(str(path)).ok, "check finds nothing wrong with a manifest that a run refuses"
            raise
        report = check.check(str(path), ANIMATORS)
        said(Rejected("\n".join(report.lines()), "x"))

    def _validate_only(self, row: dict[str, Any]) -> None:
        try:
            self._validate.asked(row)
        except Rejected as rejected:
            said(rejected)

    def _source(self, specimen: Specimen, path: Path) -> None:
        """As `catwalk manifest build` reads it; a bad row is told, and the others stand."""
        try:
            said(Rejected("\n".join(build(path, str(self._folder / "built.parquet"), ANIMATORS).lines()), "x"))
        finally:
            (self._folder / "built.parquet").unlink(missing_ok=True)


def ended(call: Callable[[], None]) -> Outcome:
    """How it ended, judged: what has no words for its owner is a fault."""
    try:
        call()
    except Problem as problem:
        status: Status = "rejected" if isinstance(problem, Rejected | WrongUsage) else "failed"
        try:
            said(problem)
        except AssertionError as wrong:
            return Outcome("fault", str(wrong))
        return Outcome(status, without_numbers(problem.error))
    except Fault as fault:  # its text is the traceback of the reading process
        lines = str(fault).strip().splitlines()
        places = [line.strip() for line in lines if line.strip().startswith("File") and "/site-packages/" not in line]
        return Outcome("fault", f"in the sandbox: {lines[-1][:160]} ({places[-1] if places else '?'})")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # pyo3's panics are no Exception
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if "/site-packages/" not in frame.filename
        ]
        own = next((one for one in reversed(frames) if "/tests/" not in one.filename), frames[-1])
        first = (str(error).strip() or "?").splitlines()[0][:160]
        where = f"{Path(own.filename).name}:{own.name}:{own.lineno}"
        return Outcome("fault", f"{type(error).__name__} in {where}: {first!r}")
    return Outcome("accepted")


def said(problem: Problem) -> None:
    """Raise AssertionError for words that do not help a row's owner, or that do harm where they are shown."""
    assert problem.error.strip(), "no error"
    assert problem.remedy.strip(), f"no remedy for {problem.error!r}"
    for text in (problem.error, problem.remedy):
        assert len(text) <= LONGEST_MESSAGE, f"a message of {len(text)} letters: {text[:200]!r}"
        found = _UNSEEMLY.search(text)
        assert not found, f"{found and found[0]!r} stands in a message: {text[:300]!r}"
        assert "SECRET" not in text, f"a secret stands in a message: {text[:300]!r}"


def without_numbers(text: str) -> str:
    """The message less what differs from file to file, so that alike ones can be counted."""
    return re.sub(r"'[^']*'|(/[^\s:]+)+|0x[0-9a-f]+|\d[\d.,]*", "…", text)[:100]
