"""Keys of every clip, chained, from digests that are taken once per checkpoint and estimator."""

from __future__ import annotations

from manifests import storage
from manifests.errors import Problem
from manifests.layout import film_key, latents_key, pose_key, reference_key
from manifests.source_memo import SourceMemo, memoised_digest
from manifests.work import Work
from pipelines.settings import RunSettings
from stages.bundled import bundled
from stages.checkpoint_files import checkpoint_digest
from stages.diffusion.animator import Facts, compute_dtype
from stages.diffusion.animators import ANIMATORS
from stages.driving import measures_reference, recipe_of, reference_estimator, replaces
from stages.latents_cache import segments
from stages.poses.recipes import AS_FILMED, key_parts, reference_parts, remedy_for
from stages.provenance.watermark.method import decisive


class Keying:
    """Fills in the keys of clips; a checkpoint that is missing or incomplete is refused again without another look."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._config = settings.config
        self._memo = SourceMemo(settings.layout.sources)
        self._encoding = settings.config.encode.model_dump(mode="json")
        self._digests: dict[tuple[str, ...], str | Exception] = {}

    def __call__(self, work: Work) -> Work:
        """The clip with all its keys. Raises `Problem` when weights are missing or do not go with the compute type."""
        clip, facts = work.clip, ANIMATORS[work.clip.animator]
        checkpoint = self.digest((clip.animator, work.checkpoint))
        reference = reference_key(work.reference.content) if work.reference else None
        poses, reference_pose = self._pose_keys(work, facts)
        layout = [(segment.start, segment.stop) for segment in segments(work)]
        dtype = compute_dtype(facts, self._settings.device, self._settings.dtype)  # it decides latents
        lora = work.lora.digest if work.lora else None
        masks = self._masks_key(work, poses)
        mask = masks if work.mask else None  # those of the estimator go with its poses
        latents = latents_key(clip, reference, [poses, reference_pose], checkpoint, dtype, layout, lora, mask)
        sound = work.driving.content if work.driving else None
        film = film_key(clip, [latents], self._encoding, sound, decisive(self._config.provenance.watermark))
        return work.keyed(
            checkpoint_digest=checkpoint,
            reference_key=reference,
            pose_key=poses,
            frames_key=self._frames_key(work, facts),
            masks_key=masks,
            pose_estimator=self._estimator(work),
            reference_pose_key=reference_pose,
            latents_key=latents,
            film_key=film,
        )

    def _pose_keys(self, work: Work, facts: Facts) -> tuple[str | None, str | None]:
        """Keys of the driving file's poses, and of the reference's where it is retargeted to or aligned."""
        if work.driving is None:
            return None, None
        estimators = self._config.estimators
        recipe = recipe_of(work.clip, estimators, work.driving)
        parts = key_parts(recipe, estimators)
        driving = pose_key(work.driving.content, parts, self._weights(recipe.estimator))
        if work.reference is None or not measures_reference(work.clip, facts, recipe, estimators):
            return driving, None
        estimator = reference_estimator(facts, estimators)
        return driving, pose_key(work.reference.content, reference_parts(estimator), self._weights(estimator))

    def _frames_key(self, work: Work, facts: Facts) -> str | None:
        """Key of the driving video's own frames."""
        if "frames" not in facts.asks or work.driving is None or work.clip.driving_kind != "video":
            return None
        return pose_key(work.driving.content, key_parts(AS_FILMED, self._config.estimators), None)

    def _masks_key(self, work: Work, poses: str | None) -> str | None:
        """Key of masks of the person who is replaced, if anybody is."""
        if work.mask is not None:
            return pose_key(work.mask.content, key_parts(AS_FILMED, self._config.estimators), None)
        return poses if replaces(work.clip) else None

    def _estimator(self, work: Work) -> str | None:
        """Which estimator finds the poses in the clip's driving file."""
        if work.driving is None:
            return None
        estimator = recipe_of(work.clip, self._config.estimators, work.driving).estimator
        return None if estimator == "none" else estimator

    def _weights(self, estimator: str) -> str | None:
        files = self._config.estimators.files(estimator)
        if not files:
            return None
        try:
            digests = [self.digest((uri,)) for uri in files]
        except FileNotFoundError as gone:
            raise Problem(f"estimator {estimator}: {gone}", remedy_for(estimator)) from None
        return storage.sha256_text(" ".join(digests))

    def digest(self, weights: tuple[str, ...]) -> str:
        """The digest of (animator, folder of its weights) or (file,); what could not be read is not tried again."""
        if weights not in self._digests:
            try:
                self._digests[weights] = self._taken(*weights)
            except Exception as refused:
                self._digests[weights] = refused
        digest = self._digests[weights]
        if isinstance(digest, Exception):
            raise digest.with_traceback(None)  # or it would grow with every clip
        return digest

    def _taken(self, name: str, folder: str | None = None) -> str:
        if folder is None:
            return memoised_digest(name, self._memo)
        digest = checkpoint_digest(bundled(folder), ANIMATORS[name], self._memo)
        for label, pinned in self._config.checkpoint_digests.items():
            if self._config.checkpoints.get(label) == folder and digest != pinned:
                error = f"checkpoint {label}: {storage.redact(folder)} has the digest {digest}, pinned is {pinned}"
                raise Problem(error, "put the weights back that were pinned, or correct checkpoint_digests")
        return digest
