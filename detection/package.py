"""What is a detector package on disk, and can the one at hand be trusted?

A folder: ``config.json`` (a superset of the WSInfer 1.0 model format), ``model.safetensors``, an ONNX twin of each of
its one to three networks, a self-test image with the detections expected on it, a model card. Pickles are never opened.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from detection.classes import CellClass, Role, indices
from detection.detections import Detections, Floats, Image
from detection.errors import PackageError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TWIN = "model.onnx"
SECOND_TWIN = "second.onnx"
CROP_TWIN = "crops.onnx"
SECOND_PREFIX = "second."
CROP_PREFIX = "crops."
STATISTICS = 5
STRIDE = 8
CANDIDATE_FLOOR = 0.08
CELL_FLOOR = 0.3
BOX = 4
AROUND = 2
SELF_TEST_IMAGE = "self_test.png"
SELF_TEST = "self_test.json"
CARD = "MODEL_CARD.md"
_ALWAYS_HASHED = (WEIGHTS, TWIN, SELF_TEST_IMAGE, SELF_TEST)
PICKLES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz"})

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Transform(BaseModel):
    """One step between pixels and network, as WSInfer lists them."""

    model_config = _STRICT
    name: str
    arguments: dict[str, float | int | str] = {}


class Calibration(BaseModel):
    """P(abnormal) = sigmoid(slope × logit(raw) + offset), fitted on scenes that training did not see."""

    model_config = _STRICT
    slope: float = Field(default=1.0, gt=0)
    offset: float = 0.0


class Network(BaseModel):
    """The numbers that build the named architecture; ``separable`` blocks multiply an eighth as often as full ones."""

    model_config = _STRICT
    channels: tuple[int, int, int] = (16, 32, 64)
    dilations: tuple[int, ...] = (1, 2, 4, 2)
    separable: bool = False

    @property
    def statistics(self) -> int:
        """How many numbers describe a patch to the second look: five a channel of every level."""
        return STATISTICS * (sum(self.channels) + len(self.dilations) * self.channels[2])


class SecondCalibration(BaseModel):
    """P(abnormal) = sigmoid(second × logit(second look) + first × logit(first look) + offset)."""

    model_config = _STRICT
    second: float = Field(default=1.0, ge=0)
    first: float = Field(default=0.0, ge=0)
    offset: float = 0.0


class SecondLook(BaseModel):
    """A network that looks at suspicious candidates once more, each alone in the middle of a patch.

    Attributes:
        class_names: its outputs in their order; each is a class of the package. One output more says "none of them".
        network: its trunk.
        patch_px: side of the patch, px at the package's scale.
        places: how many numbers it keeps of every place of the patch, and then it also says where the cell's box is;
            0: it knows statistics of the patch only.
        around: the trunk of a second view, twice as wide at half the scale; None without one.
        floor: first-look P(abnormal), uncalibrated, from which a candidate is looked at again.
        mirrored_from: its own P(abnormal), uncalibrated, from which it looks at the mirrored patch too; None: never.
        centred: those further patches lie around the box that it said of the first.
        calibration: how both looks become one probability.
    """

    model_config = _STRICT
    class_names: tuple[str, ...] = Field(min_length=2)
    network: Network = Network(channels=(24, 48, 96), dilations=(1, 1, 1, 1))
    patch_px: int = Field(default=96, ge=32, le=512, multiple_of=8)
    places: int = Field(default=0, ge=0, le=512)
    around: Network | None = None
    floor: float = Field(default=0.02, ge=0, lt=1)
    mirrored_from: float | None = Field(default=None, ge=0, le=1)
    centred: bool = False
    calibration: SecondCalibration = SecondCalibration()

    @property
    def outputs(self) -> int:
        """How many numbers it says of a patch: a logit a class, one for none of them, and of some the box."""
        return len(self.class_names) + 1 + (BOX if self.places else 0)

    @property
    def features(self) -> int:
        """How many numbers its last layer sees."""
        if not self.places:
            return self.network.statistics
        views = [self.network] if self.around is None else [self.network, self.around]
        kept = self.places * (self.patch_px // STRIDE) ** 2
        return sum(view.channels[2] + kept for view in views)

    @property
    def seen_px(self) -> int:
        """Side of all that it is shown of the image, px at the package's scale."""
        return self.patch_px if self.around is None else AROUND * self.patch_px

    @model_validator(mode="before")
    @classmethod
    def _older(cls, body: object) -> object:
        """Packages once said here whether crops taught this look; those have a look of their own now."""
        if not isinstance(body, dict) or "taught_by_crops" not in body:
            return body
        if body["taught_by_crops"]:
            raise ValueError(
                "it was taught by crops in an older format: teach them to it again with rackscan train"
            )
        return {name: value for name, value in body.items() if name != "taught_by_crops"}

    @model_validator(mode="after")
    def _around_places(self) -> "SecondLook":
        if self.around is not None and not self.places:
            raise ValueError("a second look with a view around keeps places")
        if self.centred and not self.places:
            raise ValueError("a second look that says no boxes cannot be shown them")
        return self


class Extension(BaseModel):
    """What we keep beyond WSInfer's format.

    ``crop_look`` learnt from crops of single cells, each filling a patch: it names what the others suspect; its
    calibration's ``first`` is of what they say.
    ``candidate_floor`` is the least object score that is a detection, ``cell_floor`` the least that counts as a cell:
    see ``detection.cell_floor``.
    """

    model_config = _STRICT
    classes: tuple[CellClass, ...] = Field(min_length=1)
    network: Network = Network()
    calibration: Calibration = Calibration()
    second_look: SecondLook | None = None
    crop_look: SecondLook | None = None
    candidate_floor: float = Field(default=CANDIDATE_FLOOR, gt=0, lt=1)
    cell_floor: float = Field(default=CELL_FLOOR, gt=0, lt=1)
    provenance: str
    training_data: str
    intended_use: str
    sha256: dict[str, str]


class PackageConfig(BaseModel):
    """``config.json``; ``spacing_um_px`` is the scale that the network was shown."""

    model_config = _STRICT
    spec_version: Literal["1.0"] = "1.0"
    architecture: str
    name: str
    num_classes: int = Field(ge=1)
    class_names: tuple[str, ...] = Field(min_length=1)
    patch_size_pixels: int = Field(ge=32)
    spacing_um_px: float = Field(gt=0, le=10)
    transform: tuple[Transform, ...]
    rackscan: Extension

    @model_validator(mode="after")
    def _classes_agree(self) -> "PackageConfig":
        names = tuple(entry.name for entry in self.rackscan.classes)
        if names != self.class_names or len(names) != self.num_classes or len(set(names)) != len(names):
            raise ValueError("class_names, num_classes and rackscan.classes do not say the same classes")
        for which, look in (("second", self.rackscan.second_look), ("crop", self.rackscan.crop_look)):
            if look is not None and not set(look.class_names) <= set(names):
                raise ValueError(f"rackscan.{which}_look names classes that the package does not have")
        return self

    @property
    def hashed(self) -> tuple[str, ...]:
        """The files whose hashes it lists."""
        twins = {SECOND_TWIN: self.rackscan.second_look, CROP_TWIN: self.rackscan.crop_look}
        return (*_ALWAYS_HASHED, *(twin for twin, look in twins.items() if look is not None))


def first_weights(weights: dict[str, Floats]) -> dict[str, Floats]:
    """Those of the first look."""
    return {name: v for name, v in weights.items() if not name.startswith((SECOND_PREFIX, CROP_PREFIX))}


def weights_of(weights: dict[str, Floats], prefix: str = SECOND_PREFIX) -> dict[str, Floats]:
    """Those of the second look, or of the crop look by its prefix, by their own names; empty without one."""
    return {name.removeprefix(prefix): v for name, v in weights.items() if name.startswith(prefix)}


def named(weights: dict[str, Floats], prefix: str = SECOND_PREFIX) -> dict[str, Floats]:
    """The weights of a look as a package keeps them."""
    return {prefix + name: values for name, values in weights.items()}


@dataclass(frozen=True, slots=True)
class DetectorPackage:
    """A package whose files were all read and checked.

    Attributes:
        path: its folder.
        config: what it is and was made from.
        weights: the arrays of ``model.safetensors``, float32, by name.
        twin: the bytes of the ONNX file.
        second_twin: those of the second look's; None without one.
        crop_twin: those of the crop look's; None without one.
        self_test_image: (h, w, 3) uint8 RGB at the package's own scale.
        self_test: what a detector must find on it.
        hash: sha256 over the names and hashes of all files, hexadecimal.
    """

    path: Path
    config: PackageConfig
    weights: dict[str, Floats]
    twin: bytes
    self_test_image: Image
    self_test: Detections
    hash: str
    second_twin: bytes | None = None
    crop_twin: bytes | None = None

    @property
    def classes(self) -> tuple[CellClass, ...]:
        """The classes, in the order of the network's outputs."""
        return self.config.rackscan.classes

    def of_role(self, role: Role) -> list[int]:
        """Indices of the classes with a role."""
        return indices(self.classes, role)

    @classmethod
    def load(cls, path: Path) -> "DetectorPackage":
        """Read and check a package.

        Raises:
            PackageError: with every problem found: missing or foreign files, a wrong hash, classes that are not
                listed, weights that are not finite, a pickle.
        """
        problems = _foreign_files(path)
        config, config_problems = _read_config(path)
        problems += config_problems + _wrong_hashes(path, config)
        weights, weight_problems = _read_weights(path)
        problems += weight_problems
        if config is None or problems:
            raise PackageError(str(path), problems)
        image, expected = _read_self_test(path)
        twin = (path / TWIN).read_bytes()
        second = (path / SECOND_TWIN).read_bytes() if config.rackscan.second_look else None
        crop = (path / CROP_TWIN).read_bytes() if config.rackscan.crop_look else None
        return cls(path, config, weights, twin, image, expected, package_hash(path, config), second, crop)


def sha256_of(file: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def package_hash(path: Path, config: PackageConfig) -> str:
    """The identity of a package: sha256 over the sorted ``name:sha256`` lines of config and hashed files."""
    lines = sorted(f"{name}:{sha256_of(path / name)}\n" for name in (CONFIG, *config.hashed))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _foreign_files(path: Path) -> list[str]:
    if not path.is_dir():
        return ["there is no such folder"]
    return [
        f"{file.name} may hold a pickle, which is never opened: keep weights as safetensors"
        for file in sorted(path.iterdir())
        if file.suffix.lower() in PICKLES
    ]


def _read_config(path: Path) -> tuple[PackageConfig | None, list[str]]:
    file = path / CONFIG
    if not file.is_file():
        return None, [f"{CONFIG} is missing"]
    try:
        return PackageConfig.model_validate_json(file.read_bytes()), []
    except ValidationError as error:
        found = [f"{CONFIG}: {'.'.join(map(str, e['loc'])) or 'root'}: {e['msg']}" for e in error.errors()]
        return None, found


def _wrong_hashes(path: Path, config: PackageConfig | None) -> list[str]:
    hashed = _ALWAYS_HASHED if config is None else config.hashed
    missing = [f"{name} is missing" for name in hashed if not (path / name).is_file()]
    if config is None:
        return missing
    listed = config.rackscan.sha256
    unlisted = [f"{CONFIG} has no sha256 of {name}" for name in hashed if name not in listed]
    wrong = [
        f"{name} is not the file that {CONFIG} was written for (sha256 differs)"
        for name, expected in listed.items()
        if (path / name).is_file() and sha256_of(path / name) != expected
    ]
    return missing + unlisted + wrong


def _read_weights(path: Path) -> tuple[dict[str, Floats], list[str]]:
    file = path / WEIGHTS
    if not file.is_file():
        return {}, []
    try:
        weights: dict[str, Floats] = load_file(file)
    except (SafetensorError, ValueError) as error:
        return {}, [f"{WEIGHTS} cannot be read: {error}"]
    broken = [name for name, values in weights.items() if not np.isfinite(values).all()]
    return weights, [f"{WEIGHTS}: {name} holds values that are not finite" for name in broken]


def _read_self_test(path: Path) -> tuple[Image, Detections]:
    image = cv2.imread(str(path / SELF_TEST_IMAGE), cv2.IMREAD_COLOR)
    if image is None:
        raise PackageError(str(path), [f"{SELF_TEST_IMAGE} is not an image"])
    body: dict[str, Any] = json.loads((path / SELF_TEST).read_text())
    try:
        expected = Detections.from_json(body)
    except (KeyError, ValueError) as error:
        raise PackageError(str(path), [f"{SELF_TEST} cannot be read: {error}"]) from error
    return np.ascontiguousarray(image[:, :, ::-1], dtype=np.uint8), expected


def default_package() -> Path:
    """The folder of the package that rackscan ships."""
    return Path(__file__).parent / "packages" / "default"


def crop_trunk() -> tuple[dict[str, Floats], Network]:
    """The shipped layers by whose statistics crops of single cells are told apart: their weights and network."""
    file = Path(__file__).parent / "packages" / "crop_trunk.safetensors"
    with safe_open(file, framework="numpy") as held:
        network = Network.model_validate_json(held.metadata()["network"])
        return {name: held.get_tensor(name) for name in held.keys()}, network  # noqa: SIM118  # no mapping
