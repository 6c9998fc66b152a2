"""Which optional part of the installation is missing?"""

from scanner.errors import Problem

EXTRAS = {"torch": ("torch", "onnx"), "view": ("napari", "qtpy", "PySide6")}


def missing_extra(error: Exception) -> Problem | None:
    """Which optional part of the installation an import error asks for; None for any other error."""
    name = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    extra = next((extra for extra, modules in EXTRAS.items() if name in modules), None)
    if extra is None:
        return None
    return Problem(f"{name} is not installed", f"pip install -c constraints.txt -e '.[{extra}]'")
