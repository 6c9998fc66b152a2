"""What does an OME-TIFF say of itself? OME-XML of the schema 2016-06, without anything that names a patient."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from xml.etree import ElementTree

from scanner.storage.ngff import ImageSpec

SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
TYPES = {"uint8": ("uint8", "8"), "uint16": ("uint16", "16"), "float32": ("float", "32")}
Attributes = dict[str, str]


@dataclass(frozen=True, slots=True)
class Said:
    """What is told of an image beside its pixels.

    ``name`` holds no identifier; ``acquired`` is None where nobody knows; ``facts`` are for programs, as texts.
    """

    name: str
    creator: str
    acquired: datetime | None = None
    description: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def ome_xml(spec: ImageSpec, said: Said) -> bytes:
    """What stands in a file whose directory *k* is the layer *k*.

    UTF-8, without character references: Bio-Formats 7.3 reads none in a TIFF's description.
    """
    place = {"xmlns": SCHEMA, "xmlns:xsi": XSI, "xsi:schemaLocation": f"{SCHEMA} {SCHEMA}/ome.xsd"}
    root = ElementTree.Element("OME", {**place, "Creator": said.creator})
    image = ElementTree.SubElement(root, "Image", {"ID": "Image:0", "Name": said.name})
    if said.acquired is not None:
        acquired = said.acquired.replace(tzinfo=None, microsecond=0).isoformat()
        ElementTree.SubElement(image, "AcquisitionDate").text = acquired
    if said.description:
        ElementTree.SubElement(image, "Description").text = said.description
    _pixels(image, spec)
    if said.facts:
        ElementTree.SubElement(image, "AnnotationRef", {"ID": "Annotation:0"})
        _facts(root, said.facts)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _pixels(image: ElementTree.Element, spec: ImageSpec) -> None:
    kind, bits = TYPES[spec.dtype]
    pixels = ElementTree.SubElement(
        image,
        "Pixels",
        {
            "ID": "Pixels:0",
            "DimensionOrder": "XYCZT",
            "Type": kind,
            "SignificantBits": bits,
            "BigEndian": "false",
            "Interleaved": str(spec.channels > 1).lower(),
            "SizeX": str(spec.width_px),
            "SizeY": str(spec.height_px),
            "SizeC": str(spec.channels),
            "SizeZ": str(spec.layers or 1),
            "SizeT": "1",
            **_scale(spec),
        },
    )
    ElementTree.SubElement(
        pixels, "Channel", {"ID": "Channel:0:0", "SamplesPerPixel": str(spec.channels), "Name": _shows(spec)}
    )
    for z in range(spec.layers or 1):
        place = {"IFD": str(z), "FirstZ": str(z), "FirstC": "0", "FirstT": "0", "PlaneCount": "1"}
        ElementTree.SubElement(pixels, "TiffData", place)


def _shows(spec: ImageSpec) -> str:
    if spec.channels > 1:
        return "Brightfield"
    return "Height" if spec.dtype == "float32" else "Gray"


def _scale(spec: ImageSpec) -> Attributes:
    if spec.um_per_px is None:
        return {}
    sizes = {"X": spec.um_per_px, "Y": spec.um_per_px}
    if spec.layers is not None:
        sizes["Z"] = spec.layer_um
    found: Attributes = {}
    for axis, um in sizes.items():
        found |= {f"PhysicalSize{axis}": repr(um), f"PhysicalSize{axis}Unit": "µm"}
    return found


def _facts(root: ElementTree.Element, facts: Mapping[str, str]) -> None:
    annotations = ElementTree.SubElement(root, "StructuredAnnotations")
    pairs = ElementTree.SubElement(
        annotations, "MapAnnotation", {"ID": "Annotation:0", "Namespace": "rackscan"}
    )
    value = ElementTree.SubElement(pairs, "Value")
    for name, text in facts.items():
        ElementTree.SubElement(value, "M", {"K": name}).text = text
