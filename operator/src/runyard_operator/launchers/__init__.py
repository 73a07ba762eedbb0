"""What starts a script's processes: words in, the words of a command out. Knows no place; pure."""

from runyard_operator.launchers.start import Program, start
from runyard_operator.launchers.words import Shape, Variable

__all__ = ["Program", "Shape", "Variable", "start"]
