"""How is a microscope focused, in arrays and micrometres only? Knows nothing of scanners and detectors."""
