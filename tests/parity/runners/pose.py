"""Kinds of call of the pose recordings, each run through the product's own code."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from stages.poses.drawing import resize, skeleton
from stages.poses.drawing.controlnet10 import draw_controlnet10
from stages.poses.drawing.dwpose import draw, draw_bodies, draw_faces, draw_hands
from stages.poses.drawing.skeleton import Skeleton
from stages.poses.estimators import densepose, rtmpose, yolox
from stages.poses.estimators.dwpose import Channels, Detection, DWPose
from stages.poses.files import openpose_json
from stages.poses.wholebody import openpose_order
from tests.parity.published import animate_anyone_resize, mimicmotion_alignment
from tests.parity.published.mimicmotion_drawing import draw_mimicmotion
from tests.parity.recording import Recording

Results = dict[str, Any]

# What a caller's recordings call the scores of its bodies.
CALLERS = {"dwpose": skeleton.dwpose, "moore": skeleton.animate_anyone, "mimic": skeleton.mimicmotion}
CALLERS |= {"animate_anyone": skeleton.animate_anyone, "mimicmotion": skeleton.mimicmotion}


@cache
def _estimator(detector: Path, pose: Path, order: str) -> DWPose:
    return DWPose.load(detector, pose, Channels(order, order))


class PoseRunners:
    """Runs calls on the recording's own networks, with the thresholds that its index states."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.config = recording.config

    def reorder(self, params: dict, keypoints133: torch.Tensor, scores133: torch.Tensor) -> Results:
        points, scores = openpose_order(keypoints133.numpy(), scores133.numpy())
        return {"keypoints134": points, "scores134": scores}

    def map(self, params: dict, keypoints133: torch.Tensor, scores133: torch.Tensor) -> Results:
        height, width = params["height"], params["width"]
        if params["detect_resolution"]:
            height, width = resize.resized_size(height, width, params["detect_resolution"])
        found = Detection(np.empty((0, 4)), keypoints133.numpy(), scores133.numpy()).people()
        drawn = CALLERS[params["caller"]](found, width, height)
        canvas = draw(drawn, height, width)
        if params["detect_resolution"]:
            canvas = animate_anyone_resize.finished(canvas, self.config["defaults"]["image_resolution"])
        return {**vars(drawn), "body_score": drawn.score, "canvas_u8": canvas, "detect_hw": np.array([height, width])}

    def draw(self, params: dict, **drawn: torch.Tensor) -> Results:
        return {"canvas_u8": draw(_skeleton(drawn), params["height"], params["width"])}

    def draw_body(self, params: dict, candidate: torch.Tensor, subset: torch.Tensor) -> Results:
        canvas = _black(params)
        draw_bodies(canvas, candidate.numpy(), subset.numpy())
        return {"canvas_u8": canvas}

    def draw_hands(self, params: dict, hands: torch.Tensor) -> Results:
        canvas = _black(params)
        draw_hands(canvas, hands.numpy())
        return {"canvas_u8": canvas}

    def draw_faces(self, params: dict, faces: torch.Tensor) -> Results:
        canvas = _black(params)
        draw_faces(canvas, faces.numpy())
        return {"canvas_u8": canvas}

    def mimicdraw(self, params: dict, **drawn: torch.Tensor) -> Results:
        size = params["height"], params["width"]
        return {"canvas_u8": draw_mimicmotion(_skeleton(drawn), *size, params["reference_width"])}

    def draw_controlnet10(self, params: dict, candidate: torch.Tensor, subset: torch.Tensor) -> Results:
        size = params["height"], params["width"]
        return {"canvas_u8": draw_controlnet10(candidate.numpy(), subset.numpy(), *size)}

    def simcc(
        self,
        params: dict,
        simcc_x: torch.Tensor,
        simcc_y: torch.Tensor,
        center: torch.Tensor,
        scale: torch.Tensor,
    ) -> Results:
        points, scores = rtmpose.decode_simcc(simcc_x.numpy(), simcc_y.numpy(), params["split_ratio"])
        placed = rtmpose.to_picture(points, center.numpy(), scale.numpy(), *params["input_wh"])
        return {"crop_keypoints": points, "scores": scores, "keypoints": placed}

    def yolox(self, params: dict, rows: torch.Tensor, values: torch.Tensor) -> Results:
        how = self.config["detector"]
        output = np.full((params["total_rows"], values.shape[1]), params["background"], np.float32)
        output[rows.numpy()] = values.numpy()
        decoded = yolox.decode(output, how["input_size"], how["input_size"])
        corners = yolox.corners(decoded, params["ratio"])
        found = yolox.candidates(
            corners, output, how["person_class"], how["nms_score_threshold"], how["nms_iou_threshold"]
        )
        return {
            "decoded_cxcywh": decoded[rows.numpy()],
            "boxes_all": corners[rows.numpy()],
            "detections": found,
            "boxes": yolox.people(found, how["person_score_threshold"]),
        }

    def nms(self, params: dict, boxes: torch.Tensor, scores: torch.Tensor) -> Results:
        assert params["plus_one_areas"], "areas count both border pixels"
        return {"keep": yolox.suppress(boxes.numpy(), scores.numpy(), params["iou_threshold"])}

    def letterbox(self, params: dict, image_u8: np.ndarray) -> Results:
        if first := params["enlarge_first"]:
            filter_ = getattr(cv2, f"INTER_{first['filter'].upper()}")
            image_u8 = cv2.resize(image_u8, (first["width"], first["height"]), interpolation=filter_)
        size = params["input_size"]
        canvas, ratio = yolox.letterbox(image_u8, size, size, params["pad_value"])
        assert ratio == params["ratio"], f"ratio {ratio} instead of {params['ratio']}"
        return {"canvas_u8": canvas}

    def posepre_box(self, params: dict, image_u8: np.ndarray, boxes: torch.Tensor | None = None) -> Results:
        size = params["input_wh"]
        centres, scales = rtmpose.centre_and_scale(_boxes(boxes, image_u8), *size, params["padding"])
        matrices = [rtmpose.warp_matrix(*one, *size) for one in zip(centres, scales, strict=True)]
        return {"center": centres, "scale": scales, "warp": np.stack(matrices)}

    def posepre_crop(self, params: dict, image_u8: np.ndarray, boxes: torch.Tensor | None = None) -> Results:
        cut = rtmpose.crops(image_u8, _boxes(boxes, image_u8), *params["input_wh"], params["padding"])
        every, pixels = params["recorded_crop_stride"], np.stack([one.pixels for one in cut])
        how = self.config["pose_net"]
        sparse = pixels[:, :: params["normalised_stride"] or 1, :: params["normalised_stride"] or 1]
        return {
            "crops_u8": pixels[:, ::every, ::every],
            "normalised": rtmpose.normalise(sparse, how["mean"], how["std"], np.float64),
        }

    def dwpose_end_to_end(self, params: dict, image_u8: np.ndarray) -> Results:
        height, width = image_u8.shape[:2]
        found = self._detect(params["channel_order"], [image_u8])[0]
        everyone = found.people()
        drawn = skeleton.dwpose(everyone, width, height)
        return {
            **vars(drawn),
            "boxes": found.boxes,
            "keypoints133": found.points,
            "scores133": found.scores,
            "keypoints134": everyone.points,
            "scores134": everyone.scores,
            "canvas_u8": draw(drawn, height, width),
        }

    def moore_end_to_end(self, params: dict, image_u8: np.ndarray) -> Results:
        image = animate_anyone_resize.resize(image_u8, params["detect_resolution"])
        height, width = image.shape[:2]
        assert [height, width] == params["detect_hw"], f"resized to {height} × {width}"
        found = self._detect(params["channel_order"], [image])[0]
        drawn = skeleton.animate_anyone(found.people(), width, height)
        canvas = animate_anyone_resize.finished(draw(drawn, height, width), params["image_resolution"])
        return {**vars(drawn), "body_score": drawn.score, "canvas_u8": canvas}

    def resize_sizes(
        self, params: dict, height: torch.Tensor, width: torch.Tensor, resolution: torch.Tensor
    ) -> Results:
        rows = zip(height.tolist(), width.tolist(), resolution.tolist(), strict=True)
        heights, widths = zip(*(resize.resized_size(*row) for row in rows), strict=True)
        return {"height": np.array(heights), "width": np.array(widths)}

    def resize(self, params: dict, image_u8: np.ndarray) -> Results:
        return {"image_u8": animate_anyone_resize.resize(image_u8, params["resolution"])}

    def mimic_align(self, params: dict, ref_pose: dict, driving_poses: dict) -> Results:
        reference = _skeleton(ref_pose)
        return self._aligned(params, reference, {key: _skeleton(pose) for key, pose in driving_poses.items()})

    def mimic_end_to_end(self, params: dict, ref_image_u8: np.ndarray, frames_u8: list[np.ndarray]) -> Results:
        used = mimicmotion_alignment.used_frames(len(frames_u8), params["fps"], params["sample_stride"])
        pictures = [ref_image_u8, *(frames_u8[number] for number in used)]
        found = self._detect(params["channel_order"], pictures)
        poses = [
            skeleton.mimicmotion(one.people(), picture.shape[1], picture.shape[0])
            for one, picture in zip(found, pictures, strict=True)
        ]
        driving = {str(number): pose for number, pose in enumerate(poses[1:])}
        return {
            **self._aligned(params, poses[0], driving),
            "used_frames": np.array(used),
            "ref_pose": vars(poses[0]),
            "driving_poses": {key: vars(pose) for key, pose in driving.items()},
        }

    def densepose_labels(self, params: dict, instances: dict[str, dict[str, torch.Tensor]]) -> Results:
        found = {
            key: densepose.instance(one["box_xyxy"].numpy(), one["coarse_segm"][0].numpy(), one["fine_segm"][0].numpy())
            for key, one in instances.items()
        }
        return {"labels": {key: one.labels for key, one in found.items()}}

    def densepose_colour(self, params: dict, boxes: dict, labels: dict) -> Results:
        corners = {key: densepose.integer_box(box.numpy()) for key, box in boxes.items()}
        instances = [densepose.Instance(*corners[key][:2], labels[key].numpy()) for key in sorted(boxes, key=int)]
        background = (0, 0, 0)
        if params["background"] != "black":
            table, _, entry = params["background"].rstrip("]").partition("[")
            background = densepose.colour_table(table)[int(entry)]
        return {
            "canvas_u8": densepose.paint(
                instances, params["height"], params["width"], params["colour_map"], params["alpha"], background
            )
        }

    def densepose_palette(self, params: dict) -> Results:
        return {"viridis256": densepose.colour_table("viridis").copy(), "viridis25": densepose.part_colours("viridis")}

    def openpose_json(self, params: dict, document: dict) -> Results:
        size = document.get("canvas_width", 1), document.get("canvas_height", 1)
        openpose_json.read([document], *size)
        return {}

    def _detect(self, order: str, pictures: list[np.ndarray]) -> list[Detection]:
        parts = self.config["parts"]
        paths = (self.recording.folder / parts[name] for name in ("detector", "pose_net"))
        return list(_estimator(*paths, order).detect(pictures))

    def _aligned(self, params: dict, reference: Skeleton, driving: dict[str, Skeleton]) -> Results:
        size = params["ref_height"], params["ref_width"]
        frame_size = params["frame_height"], params["frame_width"]
        fitted = mimicmotion_alignment.align(reference, list(driving.values()), size, frame_size)
        aligned = {key: fitted(pose) for key, pose in driving.items()}
        wide = params["reference_width"]
        return {
            "transform": np.array([fitted.ax, fitted.bx, fitted.ay, fitted.by]),
            "aligned_poses": {key: vars(pose) for key, pose in aligned.items()},
            "canvases_u8": [draw_mimicmotion(pose, *size, wide) for pose in aligned.values()],
            "ref_canvas_u8": draw_mimicmotion(reference, *size, wide),
        }


def _skeleton(fields: dict[str, torch.Tensor]) -> Skeleton:
    """A skeleton of the recorded fields; scores that were not recorded are 1."""
    arrays = {name: value.numpy() for name, value in fields.items()}
    arrays.setdefault("score", np.ones(arrays["subset"].shape))
    arrays.setdefault("hands_score", np.ones(arrays["hands"].shape[:2]))
    arrays.setdefault("faces_score", np.ones(arrays["faces"].shape[:2]))
    return Skeleton(**arrays)


def _black(params: dict) -> np.ndarray:
    return np.zeros((params["height"], params["width"], 3), np.uint8)


def _boxes(boxes: torch.Tensor | None, image: np.ndarray) -> np.ndarray:
    """The boxes given, or the one around the whole picture."""
    return np.array([[0, 0, image.shape[1], image.shape[0]]]) if boxes is None else boxes.numpy()
