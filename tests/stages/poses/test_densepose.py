"""DensePose around the network: a scripted stand-in has the inputs and outputs of the public exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from manifests.errors import Problem
from stages.poses.estimators.densepose import Instance, instance, paint, part_colours, uv_array
from stages.poses.estimators.densepose_model import DensePose

Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class StandIn(torch.nn.Module):
    """Finds one person in the left half of a picture whose first channel is bright: part 2 above, part 9 below."""

    def forward(self, image: torch.Tensor) -> Outputs:
        height, width = image.shape[1], image.shape[2]
        people = 1 if bool(image[0].float().mean() > 100) else 0
        boxes = torch.tensor([[0.0, 0.0, width / 2, float(height)]])[:people]
        coarse = torch.zeros(people, 2, 112, 112)
        coarse[:, 1] = 1.0
        coarse[:, 1, :, :28] = -1.0
        fine = torch.zeros(people, 25, 112, 112)
        fine[:, 2, :56] = 1.0
        fine[:, 9, 56:] = 1.0
        u = torch.linspace(0, 1, 25)[None, :, None, None].expand(people, 25, 112, 112)
        return boxes, coarse, fine, u, 1 - u


class Misfit(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean()


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "densepose.torchscript"
    torch.jit.script(StandIn()).save(str(path))
    return path


def bright(channel: int) -> np.ndarray:
    image = np.zeros((80, 96, 3), np.uint8)
    image[..., channel] = 200
    return image


def test_labels_and_coordinates_come_out_where_the_person_is(network: Path) -> None:
    found = DensePose(network)(bright(2))  # blue comes first in BGR
    assert len(found) == 1
    assert found[0].labels.shape == (80, 48)
    assert np.unique(found[0].labels[:, :11]).tolist() == [0]
    assert np.unique(found[0].labels[:39, 14:]).tolist() == [2]
    assert np.unique(found[0].labels[41:, 14:]).tolist() == [9]
    canvas = paint(found, 80, 96)
    assert canvas[10, 30].tolist() == part_colours()[2].tolist()
    assert canvas[10, 90].tolist() == [68, 1, 84]
    uv = uv_array(found, 80, 96)
    assert (uv.shape, uv.dtype) == ((2, 80, 96), np.float64)
    assert uv[:, 60, 30] == pytest.approx([9 / 24, 1 - 9 / 24], abs=1e-6)
    assert not uv[:, :, 48:].any()


def test_the_network_is_shown_the_channel_order_asked_for(network: Path) -> None:
    assert len(DensePose(network, channels="rgb")(bright(0))) == 1
    assert len(DensePose(network, channels="bgr")(bright(0))) == 0


def test_a_picture_of_nobody_is_background(network: Path) -> None:
    found = DensePose(network)(np.zeros((80, 96, 3), np.uint8))
    assert found == []
    assert np.unique(paint(found, 80, 96).reshape(-1, 3), axis=0).tolist() == [[68, 1, 84]]
    assert not uv_array(found, 80, 96).any()


def test_a_box_across_the_border_is_cut_off() -> None:
    someone = Instance(-2, 6, np.full((4, 5), 24, np.uint8), np.ones((2, 4, 5), np.float32))
    canvas, uv = paint([someone], 8, 8), uv_array([someone], 8, 8)
    painted = (canvas == part_colours()[24]).all(axis=-1)
    assert np.array_equal(painted, uv[0] == 1)
    assert painted.sum() == 6
    assert painted[6:, :3].all()
    away = Instance(20, -9, np.full((4, 5), 24, np.uint8))
    assert np.array_equal(paint([away], 8, 8), paint([], 8, 8))


def test_a_box_without_extent_is_one_pixel() -> None:
    maps = np.zeros((25, 4, 4), np.float32)
    assert instance(np.array([3.9, 2.9, 4.1, 3.1]), maps[:2], maps).labels.shape == (1, 1)


def test_later_people_cover_earlier_ones_with_their_parts_only() -> None:
    first = Instance(0, 0, np.full((4, 4), 1, np.uint8))
    second = Instance(0, 0, np.array([[0, 0, 5, 5]] * 4, np.uint8))
    canvas = paint([first, second], 4, 4)
    assert canvas[0, 0].tolist() == part_colours()[1].tolist()
    assert canvas[0, 3].tolist() == part_colours()[5].tolist()


def test_a_missing_network_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"DensePose network is missing: there is no file .*nowhere"):
        DensePose(tmp_path / "nowhere.torchscript")


def test_a_file_that_is_no_torchscript_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04 not a network")
    with pytest.raises(Problem, match=r"cannot be opened as TorchScript.*expected one picture \[3, height, width\]"):
        DensePose(tmp_path / "model.pkl")


def test_another_network_is_told_what_is_expected(tmp_path: Path) -> None:
    torch.jit.script(Misfit()).save(str(tmp_path / "other.pt"))
    with pytest.raises(Problem, match=r"is not a DensePose export.*boxes \[n, 4\], coarse \[n, 2, h, w\]"):
        DensePose(tmp_path / "other.pt")(bright(0))
