"""The machine and its data road."""
