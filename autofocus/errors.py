"""What can be wrong with what a caller hands to this package?"""


class FocusInputError(ValueError):
    """An image, a stack or a list of heights that focus cannot be computed from; the message says why."""
