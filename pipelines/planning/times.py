"""How long a run's parts take on its machine: measured by a calibration where there is one, else assumed."""

from __future__ import annotations

from collections.abc import Mapping

from manifests.work import Work
from pipelines.planning.calibration_file import Calibration
from pipelines.planning.machine import Machine, Workers
from pipelines.planning.memory import Memory, memory_of
from pipelines.planning.operations import operations_of
from pipelines.planning.pace import Pace, assumed, nearest
from pipelines.settings import RunSettings
from stages.diffusion.animator import compute_dtype
from stages.diffusion.animators import ANIMATORS

START_SECONDS, END_SECONDS = 30.0, 3.0  # Ray and the workers; the table and the summary
INPUTS_SECONDS = 0.3  # a clip's reference and sound
LOADING = 0.3e9  # bytes of weights read and converted in a second
POSE_FRAME_SECONDS = {"people": 0.045, "drawn": 0.03, "dwpose": 1.0, "densepose": 3.0}  # of one core
READ_FRAME_SECONDS = 0.01  # of poses that are only read
FILM_BYTES = 0.04e6  # of a megapixel of film


class Times:
    """Seconds and bytes of everything that is not the same for all clips."""

    def __init__(self, settings: RunSettings, workers: Workers, calibration: Calibration | None) -> None:
        self.calibration = calibration
        self.start = calibration.start_seconds if calibration else START_SECONDS
        self.end = calibration.end_seconds if calibration else END_SECONDS
        self.inputs = calibration.inputs_seconds if calibration else INPUTS_SECONDS
        self.film_bytes = (calibration and calibration.film_bytes) or FILM_BYTES
        self._settings = settings
        self._workers = workers
        self._assumed: set[str] = set()

    def pace(self, work: Work) -> Pace | None:
        """That of a clip's animator at its size; None where there is nothing to tell it by."""
        clip = work.clip
        pixels = (clip.width or 0) * (clip.height or 0)
        if self.calibration and (found := nearest(self.calibration.paces, clip.animator, pixels)):
            return found
        if (
            operations_of(clip.animator, pixels, work.checkpoint) is None
            or (tflops := self._machine(clip.animator).tflops) is None
        ):
            return None
        self._assumed.add(clip.animator)
        return assumed(clip.animator, pixels, tflops, self._together(clip.animator))

    def loading(self, animator: str) -> float:
        """Of an animator's weights."""
        if self.calibration and animator in self.calibration.load_seconds:
            return self.calibration.load_seconds[animator]
        return 1.0 + self.weights(animator) / LOADING

    def poses(self, estimator: str | None, frames: int) -> float:
        """Of a file of so many frames; 1 for a reference."""
        known = {"": READ_FRAME_SECONDS, **POSE_FRAME_SECONDS}
        known |= self.calibration.pose_seconds if self.calibration else {}
        return frames * known.get(estimator or "", 0.1)

    def _machine(self, animator: str) -> Machine:
        return self._workers.of(animator).machine

    def _together(self, animator: str) -> int:
        return self._workers.of(animator).together if ANIMATORS[animator].deals_windows else 1

    def weights(self, animator: str) -> float:
        """Bytes of an animator's weights as they are loaded."""
        return ANIMATORS[animator].parameters * 1e6 * self.number_bytes(animator)

    def number_bytes(self, animator: str) -> int:
        """Bytes of one number in its networks."""
        dtype = compute_dtype(ANIMATORS[animator], self._machine(animator).device, self._settings.dtype)
        return 4 if dtype == "float32" else 2

    def memory(self, work: Work) -> Memory | None:
        """That a clip takes of its device; None where nobody has counted its animator."""
        pool = self._settings.config.pool_of(work.clip.animator)
        device = self._machine(work.clip.animator).device
        return memory_of(
            work.clip, work.drawn or work.frames, device, self._settings.dtype, pool.low_vram, work.checkpoint
        )

    def assumptions(self, uncounted: Mapping[str, int]) -> list[str]:
        """What these figures rest on, in words; `uncounted` are films by animator whose pace nobody knows."""
        lines, calibration = [], self.calibration
        if calibration:
            rates = ", ".join(
                f"{pace.animator} {pace.tflops:.3g} TFLOP/s at {pace.pixels:,} pixels" for pace in calibration.paces
            )
            lines.append(
                f"measured on {calibration.host}, {calibration.measured:%Y-%m-%d %H:%M} UTC, with {calibration.rows} "
                f"short films: {rates or 'no animator'}"
            )
            lines += [f"not measured: {what}" for what in calibration.missing]
        by_machine: dict[Machine, list[str]] = {}
        for animator in sorted(self._assumed):
            by_machine.setdefault(self._machine(animator), []).append(animator)
        for machine, animators in by_machine.items():
            lines.append(
                f"{', '.join(animators)}: {machine.tflops or 0:.3g} TFLOP/s reached on {machine.name} "
                f"({machine.source}); operations are counted on the networks, not guessed; beside them a second for "
                "each film, 0.05 s for each of its megapixels in denoising and 0.1 s in encoding"
            )
        for animator in sorted(self._assumed):
            if (together := self._together(animator)) > 1:
                lines.append(
                    f"{animator}: {together} devices that make a film together denoise {together} times as fast"
                )
        for animator, workers in self._workers.own.items():
            lines.append(f"{animator}: {workers.animating} worker(s) of its own, with {workers.gpus:g} GPU(s) each")
        for animator, films in uncounted.items():
            why = "nobody has counted what it computes"
            if self._machine(animator).tflops is None:
                why = "it was not measured, and no card is named"
            lines.append(f"{animator}: {why}, so {films} film(s) are in no time and no cost; --calibrate measures it")
        of = "as measured" if calibration else "assumed"
        lines.append(f"{self.start:.0f} s until the workers are there, {self.end:.0f} s at the end ({of})")
        lines.append("nobody dies, nothing is done twice, and storage keeps up")
        return lines
