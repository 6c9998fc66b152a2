"""Reading an archive again with a newer detector: ``look_back`` is the file to read first."""
