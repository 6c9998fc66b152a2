"""Which keys and buttons say what a cell is? A dock with one button a word; the same words are bound to keys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QWidget

from detection.classes import ABNORMAL

COLUMNS = 2
NORMAL = "NILM"
CLASS_KEYS = {**{str(number): name for number, name in enumerate(ABNORMAL, start=1)}, "0": NORMAL}


@dataclass(frozen=True, slots=True)
class Word:
    """A key, what its button says, and what happens."""

    key: str
    label: str
    say: Callable[[], object]


class CorrectionPanel(QWidget):
    """The buttons, and a line that tells what was saved or why not."""

    def __init__(self, words: Sequence[Word]) -> None:
        super().__init__()
        self.told = QLabel("")
        self.told.setWordWrap(True)
        self.told.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout(self)
        for place, word in enumerate(words):
            button = QPushButton(f"{word.key.upper()}  {word.label}")
            button.clicked.connect(lambda _=False, say=word.say: say())
            grid.addWidget(button, place // COLUMNS, place % COLUMNS)
            self.buttons[word.key] = button
        grid.addWidget(self.told, -(-len(words) // COLUMNS), 0, 1, COLUMNS)

    def tell(self, text: str) -> None:
        """Replace the line."""
        self.told.setText(text)
