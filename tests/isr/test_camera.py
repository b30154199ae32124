"""Boxes, amplifiers, detectors, cameras, and the camera files of users."""

from __future__ import annotations

import copy
import math
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from isr.camera import Box, Camera
from isr.errors import CameraError
from tests import naive
from tests.builders import four_amplifiers, two_amplifiers

DOCS = Path(__file__).resolve().parents[2] / "docs" / "camera_files.md"

COORDINATES = st.integers(-8, 12)
BOXES = st.builds(Box, COORDINATES, COORDINATES, st.integers(0, 9), st.integers(0, 9))


def test_box():
    box = Box(2, 3, 5, 4)
    assert (box.x1, box.y1, box.shape) == (7, 7, (4, 5))
    pixels = np.arange(100).reshape(10, 10)
    assert pixels[box.slices].shape == box.shape
    assert pixels[box.slices][0, 0] == 32
    assert pixels[box.slices][-1, -1] == 66


@given(BOXES, st.integers(1, 8), st.integers(1, 8))
def test_clipped_box_has_the_pixels_inside(box, ny, nx):
    clipped = box.clipped_to((ny, nx))
    assert naive.draw([clipped]) == naive.draw([box]) & naive.draw([(0, 0, nx, ny)])
    assert clipped.clipped_to((ny, nx)) == clipped


@given(BOXES.filter(min), BOXES.filter(lambda box: box.width > 0 and box.height > 0))
def test_contains(box, other):
    assert box.contains(other) == (naive.draw([other]) <= naive.draw([box]))


@given(BOXES, BOXES)
def test_overlaps(box, other):
    assert box.overlaps(other) == bool(naive.draw([box]) & naive.draw([other]))


def test_detector_refuses_amplifiers_that_overlap():
    left, right = two_amplifiers().amplifiers
    with pytest.raises(CameraError, match=r"Detector 7 .*'L' in .* 'R' in Box\(x0=11.* overlap"):
        two_amplifiers(amplifiers=(left, replace(right, bbox=Box(11, 0, 12, 20))))


def test_detector_refuses_readout_strips_that_overlap():
    left, right = two_amplifiers().amplifiers
    with pytest.raises(CameraError, match=r"'L' in .* 'R' in Box\(x0=20.* overlap in the raw frame"):
        two_amplifiers(amplifiers=(left, replace(right, raw_bbox=Box(20, 0, 22, 23))))


def test_amplifier_refuses_boxes_of_different_size():
    amplifier = two_amplifiers().amplifiers[0]
    with pytest.raises(CameraError, match=r"Amplifier 'L'.*height=19.*height=20"):
        replace(amplifier, raw_data_bbox=Box(3, 2, 12, 19))


@pytest.mark.parametrize(
    "change",
    [
        {"raw_bbox": Box(0, 0, 43, 23)},
        {"raw_bbox": Box(-1, 0, 21, 23)},
        {"raw_data_bbox": Box(31, 2, 12, 20)},
        {"raw_serial_overscan_bbox": Box(15, 4, 6, 20)},
        {"bbox": Box(13, 0, 12, 20)},
        {"bbox": Box(0, 1, 12, 20)},
    ],
)
def test_detector_refuses_boxes_outside(change):
    detector = two_amplifiers()
    first, second = detector.amplifiers
    with pytest.raises(CameraError, match=r"Detector 7 \(1_07\): amplifier 'R' has a box outside"):
        replace(detector, amplifiers=(first, replace(second, **change)))


def test_detector_refuses_two_amplifiers_of_one_name():
    first, second = two_amplifiers().amplifiers
    with pytest.raises(CameraError, match=r"\['L', 'L'\]"):
        two_amplifiers(amplifiers=(first, replace(second, name="L")))


def test_detector_finds_amplifiers_by_name():
    detector = two_amplifiers()
    assert detector["R"] is detector.amplifiers[1]
    assert detector.shape == (20, 24)
    with pytest.raises(CameraError, match=r"1_07.*no amplifier 'X'.*'L', 'R'"):
        detector["X"]


@pytest.mark.parametrize(
    ("yaw", "quarters"), [(0, 0), (44.9, 0), (45, 1), (90.1, 1), (180, 2), (270, 3), (359, 4), (-1e-15, 4)]
)
def test_quarter_turns(yaw, quarters):
    """A tiny negative yaw counts four turns, as in LSST (spec section 2)."""
    assert two_amplifiers(yaw=yaw).n_quarter == quarters


def test_camera_finds_detectors():
    two, four = two_amplifiers(), four_amplifiers()
    camera = Camera("TEST", (two, four))
    assert list(camera) == [two, four]
    assert len(camera) == 2
    for detector in (two, four):
        assert camera[detector.id] is camera[detector.name] is camera[detector.serial] is detector
    for key in (4, "7", "0_04"):
        with pytest.raises(CameraError, match=rf"TEST has no detector {key!r}; ids run from 3 to 7.*'1_07'"):
            camera[key]


def test_names_go_before_serial_numbers():
    two, four = two_amplifiers(serial="0_03"), four_amplifiers(serial="twin")
    camera = Camera("TEST", (two, four, two_amplifiers(id=8, name="1_08", serial="twin")))
    assert camera["0_03"] is four
    assert camera["twin"] is four


@pytest.mark.parametrize(
    "detectors",
    [(), (two_amplifiers(), four_amplifiers(id=7)), (two_amplifiers(), four_amplifiers(name="1_07"))],
)
def test_camera_refuses_detectors_that_cannot_be_told_apart(detectors):
    with pytest.raises(CameraError, match="each with an id and a name of its own"):
        Camera("TEST", detectors)


def test_cameras_go_to_other_processes():
    camera = Camera("TEST", (two_amplifiers(), four_amplifiers()))
    copied = pickle.loads(pickle.dumps(camera))
    assert repr(copied) == repr(camera)  # NaN is not equal to NaN
    assert copied["1_07"]["R"].bbox == camera["1_07"]["R"].bbox


# --- camera files -------------------------------------------------------------------------------


@pytest.fixture
def description() -> dict:
    """The example of the documentation."""
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return yaml.safe_load(example)


@pytest.fixture
def read(tmp_path):
    def read_camera(description) -> Camera:
        path = tmp_path / "camera.yaml"
        text = description if isinstance(description, str) else yaml.safe_dump(description)
        path.write_text(text, encoding="utf-8")
        return Camera.from_yaml(path)

    return read_camera


def test_the_documented_camera(description, read):
    camera = read(description)
    (detector,) = camera
    left, right = detector.amplifiers
    assert camera.name == "MyCam"
    assert detector.shape == (1000, 1024)
    assert detector.raw_shape == (1000, 1088)
    assert detector.raw_flip == ""
    assert left.raw_data_bbox == Box(0, 0, 512, 1000)
    assert right.raw_serial_overscan_bbox == Box(544, 0, 32, 1000)
    assert (left.raw_flip_x, right.raw_flip_x) == (False, True)
    assert (left.gain, right.gain) == (1.6, 1.7)
    assert left.saturation == 60000.0
    assert math.isnan(right.suspect_level)
    assert left.linearity_type == "None"


def test_all_fields_of_a_camera_file(description, read):
    detector = description["detectors"][0]
    detector |= {"focal_plane_position": [1, 2.5], "reference_pixel": [511.5, 499.5], "yaw": 90}
    detector |= {"pixel_size": 0.015, "raw_flip": "LR", "id": 12}
    detector["amplifiers"][0] |= {"name": 0, "linearity_type": "Squared", "linearity_coeffs": [1e-6, 0]}
    detector["amplifiers"][0] |= {"raw_prescan_bbox": [0, 0, 3, 4], "saturation": "6e4", "gain": 2}
    found = read(description)[12]
    assert found.focal_plane_position == (1.0, 2.5)
    assert found.reference_pixel == (511.5, 499.5)
    assert (found.yaw, found.pixel_size, found.raw_flip) == (90.0, 0.015, "LR")
    amplifier = found["0"]
    assert amplifier.linearity_coeffs == (1e-6, 0.0)
    assert amplifier.raw_prescan_bbox == Box(0, 0, 3, 4)
    assert (amplifier.saturation, amplifier.gain) == (60000.0, 2.0)
    numbers = (amplifier.saturation, amplifier.gain, amplifier.read_noise, found.yaw)
    assert all(isinstance(number, float) for number in numbers)


def change_detector(**fields):
    return lambda camera: camera["detectors"][0].update(fields)


def change_amplifier(**fields):
    return lambda camera: camera["detectors"][0]["amplifiers"][1].update(fields)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda camera: camera.pop("name"), "KeyError: 'name'"),
        (lambda camera: camera.pop("detectors"), "KeyError: 'detectors'"),
        (lambda camera: camera.update(detectors=None), "TypeError"),
        (lambda camera: camera.update(detectors=[]), "at least one"),
        (lambda camera: camera.update(detectors=["0_03"]), "ValueError"),
        (lambda camera: camera["detectors"].append(copy.deepcopy(camera["detectors"][0])), "of its own"),
        (lambda camera: camera["detectors"][0].pop("type"), "missing 1 required.*'type'"),
        (lambda camera: camera["detectors"][0].pop("bbox"), "KeyError: 'bbox'"),
        (lambda camera: camera["detectors"][0].pop("raw_shape"), "KeyError: 'raw_shape'"),
        (lambda camera: camera["detectors"][0].pop("amplifiers"), "KeyError: 'amplifiers'"),
        (change_detector(amplifiers=["left", "right"]), "AttributeError"),
        (change_detector(colour="blue"), "unexpected keyword argument 'colour'"),
        (change_detector(id="one"), "TypeError"),
        (change_detector(raw_shape=[1000.5, 1088]), "TypeError"),
        (change_detector(raw_shape=[900, 1088]), "outside the raw frame"),
        (change_detector(bbox=[0, 0, 1000, 1000]), "outside the raw frame .* or the detector"),
        (lambda camera: camera["detectors"][0]["amplifiers"][1].pop("raw_bbox"), "missing 1 req.*'raw_bbox'"),
        (lambda camera: camera["detectors"][0]["amplifiers"][1].pop("name"), "KeyError: 'name'"),
        (change_amplifier(name="A1"), "a name of its own"),
        (change_amplifier(noise=3.0), "unexpected keyword argument 'noise'"),
        (change_amplifier(gain="high"), "could not convert string to float"),
        (change_amplifier(bbox=[512, 0, 512]), "missing 1 required"),
        (change_amplifier(bbox=[512, 0, "512", 1000]), "TypeError"),
        (change_amplifier(bbox=[512, 0, 511, 1000]), "differ in size"),
        (change_amplifier(raw_data_bbox=[577, 0, 512, 1000]), "outside the raw frame"),
        (change_amplifier(raw_serial_overscan_bbox=[544, 1, 32, 1000]), "outside the raw frame"),
    ],
)
def test_mistakes_in_a_camera_file(description, read, spoil, message):
    spoil(description)
    with pytest.raises(CameraError, match=rf"camera\.yaml: .*{message}"):
        read(description)


@pytest.mark.parametrize("text", ["", "42", "- a\n- b\n", "name: [unclosed", "name: \t bad"])
def test_files_that_describe_no_camera(read, text):
    with pytest.raises(CameraError, match=r"camera\.yaml: not a camera description"):
        read(text)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(CameraError, match=r"none\.yaml.*FileNotFoundError"):
        Camera.from_yaml(tmp_path / "none.yaml")
