"""A terminal that keeps what a program writes: as much of one as rich's live display uses, and its scrollback."""

from __future__ import annotations

import re

TOKENS = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Terminal:
    """The lines of a screen of `height`, above them those that have scrolled off."""

    def __init__(self, height: int) -> None:
        self.height, self.lines, self.row, self.column = height, [""], 0, 0

    @property
    def top(self) -> int:
        """The first line on the screen; the cursor moves no higher."""
        return max(len(self.lines) - self.height, 0)

    def write(self, text: str) -> None:
        for arguments, command, move, plain in TOKENS.findall(text):
            if command == "A":
                self.row = max(self.row - int(arguments or 1), self.top)
            elif command == "K":
                self.lines[self.row] = ""
            elif move == "\r":
                self.column = 0
            elif move == "\n":
                self.row, self.column = self.row + 1, 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif plain:
                before = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = before[: self.column] + plain + before[self.column + len(plain) :]
                self.column += len(plain)
