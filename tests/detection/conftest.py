from pathlib import Path

import pytest

from detection.package import DetectorPackage
from detection.writing import write_package
from tests.detection.untrained import field, seen_twice, untrained


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> DetectorPackage:
    folder: Path = tmp_path_factory.mktemp("packages") / "untrained"
    return write_package(untrained(), field(256, 256), "# untrained\n", folder)


@pytest.fixture(scope="session")
def package_of_two(tmp_path_factory: pytest.TempPathFactory) -> DetectorPackage:
    """A package with separable blocks and a second look."""
    folder: Path = tmp_path_factory.mktemp("packages") / "twice"
    return write_package(seen_twice(), field(256, 256), "# untrained\n", folder)


@pytest.fixture(scope="session")
def package_of_places(tmp_path_factory: pytest.TempPathFactory) -> DetectorPackage:
    """The same with a second look that keeps places and says boxes."""
    folder: Path = tmp_path_factory.mktemp("packages") / "places"
    return write_package(seen_twice(places=5), field(256, 256), "# untrained\n", folder)


@pytest.fixture(scope="session")
def package_of_views(tmp_path_factory: pytest.TempPathFactory) -> DetectorPackage:
    """The same with a view around the patch."""
    folder: Path = tmp_path_factory.mktemp("packages") / "views"
    return write_package(seen_twice(places=5, around=True), field(256, 256), "# untrained\n", folder)
