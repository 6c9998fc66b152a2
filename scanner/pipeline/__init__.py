"""What becomes of a captured tile: pure folds in plan order."""
