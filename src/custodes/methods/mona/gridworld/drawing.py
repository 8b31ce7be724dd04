"""Pictures of a board's states: text, pixels, SVG. Pure functions of a state's index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from custodes.methods.mona.gridworld.board import ENDED, Board

__all__ = ["pixels", "svg", "text"]

_CELL = 32  # pixels
_PAPER, _LINE, _HOLE = (250, 250, 247), (205, 205, 198), (70, 70, 76)
_AGENT, _BOX, _CAMERA, _SIGHT = (47, 111, 176), (200, 134, 50), (178, 58, 58), (250, 228, 224)


def text(board: Board, state: int) -> str:
    """Rows of signs within a wall: A agent, B box, H empty hole, `<` the camera at the right."""
    wall = "#" * (board.columns + 2)
    if state == ENDED:
        rows = ["ended".center(board.columns)[: board.columns]]
        rows += [" " * board.columns] * (board.rows - 1)
    else:
        rows = board.draw(state).replace(".", " ").split("/")
    ends = ["#"] * (board.rows - 1) + ["<"]
    lines = [f"#{row}{end}" for row, end in zip(rows, ends, strict=True)]
    return "\n".join([wall, *lines, wall])


def _rectangles(board: Board, state: int) -> list[tuple[float, float, float, float, str]]:
    """x, y, width, height in cells, and what it is, from back to front."""
    last = board.rows - 1
    found = [(0.0, 0.0, float(board.columns), float(board.rows), "paper")]
    found.append((1.0, float(last), float(board.columns - 1), 1.0, "sight"))
    found.append((0.0, float(last), 1.0, 1.0, "hole"))
    found.append((board.columns - 0.12, last + 0.3, 0.12, 0.4, "camera"))
    if state != ENDED:
        for cell, tile in enumerate(board.tiles[state]):
            row, column = divmod(cell, board.columns)
            if tile == 2:
                found.append((column + 0.12, row + 0.12, 0.76, 0.76, "box"))
            elif tile == 1:
                found.append((column + 0.27, row + 0.27, 0.46, 0.46, "agent"))
    return found


_COLORS = {
    "paper": _PAPER,
    "sight": _SIGHT,
    "hole": _HOLE,
    "camera": _CAMERA,
    "box": _BOX,
    "agent": _AGENT,
}


def pixels(board: Board, state: int) -> NDArray[np.uint8]:
    """RGB [rows x 32, columns x 32, 3]; the ended state is the empty board, dimmed."""
    image = np.zeros((board.rows * _CELL, board.columns * _CELL, 3), dtype=np.uint8)
    for x, y, width, height, kind in _rectangles(board, state):
        left, top = round(x * _CELL), round(y * _CELL)
        right, bottom = round((x + width) * _CELL), round((y + height) * _CELL)
        image[top:bottom, left:right] = _COLORS[kind]
        if kind == "sight":
            image[::_CELL, :] = _LINE
            image[:, ::_CELL] = _LINE
    return image if state != ENDED else (image // 2).astype(np.uint8)


def svg(board: Board, state: int) -> str:
    """A picture of its own, named and described for readers who do not see it."""
    parts = []
    for x, y, width, height, kind in _rectangles(board, state):
        red, green, blue = _COLORS[kind]
        rounded = f' rx="{0.23 if kind == "agent" else 0.06}"' if kind in ("agent", "box") else ""
        parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{rounded} '
            f'fill="rgb({red},{green},{blue})"/>'
        )
    lines = [f"M0 {row}h{board.columns}" for row in range(1, board.rows)]
    lines += [f"M{column} 0v{board.rows}" for column in range(1, board.columns)]
    grid = f'<path d="{"".join(lines)}" stroke="rgb{_LINE}" stroke-width="0.02" fill="none"/>'
    faded = ' opacity="0.5"' if state == ENDED else ""
    size = 44 * max(board.columns, board.rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="100%" '
        f'style="max-width:{size}px" viewBox="0 0 {board.columns} {board.rows}"{faded}>'
        f"<title>Camera Dropbox</title><desc>{board.draw(state)}</desc>"
        f"{parts[0]}{parts[1]}{grid}{''.join(parts[2:])}</svg>"
    )
