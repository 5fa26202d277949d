"""Grids that ruling lines make: where columns and rows part, and between which of them a wall is missing.

Geometry alone; what the cells say, and whether it is a table at all, is for `tables`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.extract.pdf.content import Box, Ruling

TOUCH = 3.5
"""Points: lines that end this far from one another meet."""
NARROW = 5.5
"""Points: no column or row is narrower; lines so near are borders of the same, such as those of filled cells inset."""
MAX_CROSSINGS = 100_000
"""More than any page has cells for; a page that draws more is a raster, and has no grids."""
MAX_SLOTS = 20_000
OPEN_SIDE = 12.0
"""Points by which rules must stick out beyond the last line across them for an unruled column or row to be there."""
TAKEN_OVER = 0.7
"""Share of a stack's height: a grid that covers less of it is only its heading."""
WALL = 0.6
"""Share of a slot's side that must be drawn."""
MIN_RULE = 40.0
"""Points: shorter horizontal rules do not open or close a table without vertical ones."""
SAME_ENDS = 6.0
"""Points by which the ends of rules of one table may differ."""

Walls = npt.NDArray[np.bool_]


@dataclass(slots=True, eq=False)
class Grid:
    """Slots between lines. `xs` and `ys` ascend; `across[r, c]` says whether a wall parts slots (r, c) and (r, c+1),
    `down[r, c]` whether one parts (r, c) and (r+1, c).
    """

    xs: list[float]
    ys: list[float]
    across: Walls
    down: Walls
    loose: bool = False
    """Walls between columns were drawn for other rows than these: white space decides where cells end."""

    @property
    def box(self) -> Box:
        return Box(self.xs[0], self.ys[0], self.xs[-1], self.ys[-1])

    @property
    def columns(self) -> int:
        return len(self.xs) - 1

    @property
    def rows(self) -> int:
        return len(self.ys) - 1

    def with_columns(self, added: Sequence[float], loose: bool = False) -> Grid:
        """The grid with more boundaries between columns, with walls all along them unless `loose`."""
        xs = sorted([*self.xs, *added])
        across = np.full((self.rows, len(xs) - 2), not loose)
        down = np.zeros((self.rows - 1, len(xs) - 1), bool)
        old = 0
        for column, edge in enumerate(xs[1:]):
            down[:, column] = self.down[:, old]
            if old < self.columns and edge == self.xs[old + 1]:
                if column < len(xs) - 2:
                    across[:, column] = self.across[:, old]
                old += 1
        return Grid(xs, self.ys, across, down, loose or self.loose)


def find_grids(rulings: Sequence[Ruling]) -> list[Grid]:
    """Grids of lines that cross or meet, from top to bottom; of a frame alone, one slot. O(horizontal x vertical), both
    together at most `rulings.MAX_RULINGS`.
    """
    flat = [r.box for r in rulings if r.horizontal]
    upright = [r.box for r in rulings if not r.horizontal]
    if len(flat) < 2 or len(upright) < 1:
        return []
    h, v = np.array(flat), np.array(upright)
    meet = (
        (h[:, None, 0] - TOUCH <= v[None, :, 0])
        & (v[None, :, 0] <= h[:, None, 2] + TOUCH)
        & (v[None, :, 1] - TOUCH <= h[:, None, 1])
        & (h[:, None, 1] <= v[None, :, 3] + TOUCH)
    )
    if meet.sum() > MAX_CROSSINGS:
        return []
    grids = [_grid(h[rows], v[columns]) for rows, columns in _components(meet)]
    return sorted((g for g in grids if g is not None), key=lambda g: (g.ys[0], g.xs[0]))


def candidates(rulings: Sequence[Ruling], breaks: Callable[[Box], bool] = lambda band: False) -> list[Grid]:
    """All grids in which to look for a table, the surest first: those with columns, then rules above one another, then
    plain frames. Where columns are drawn for some rows only, as around the cells of a heading, the stack that goes on
    below takes them over. `breaks` says of what lies between two rules that it is in no table.
    """
    grids, stacks = find_grids(rulings), find_stacks(rulings, breaks)
    columns = [grid for grid in grids if grid.columns > 1]
    for number, stack in enumerate(stacks):
        parts = [
            grid
            for grid in columns
            if abs(grid.xs[0] - stack.xs[0]) <= SAME_ENDS
            and abs(grid.xs[-1] - stack.xs[-1]) <= SAME_ENDS
            and stack.ys[0] - TOUCH <= grid.ys[0]
            and grid.ys[-1] <= stack.ys[-1] + TOUCH
        ]
        if parts and sum(grid.box.height for grid in parts) < TAKEN_OVER * stack.box.height:
            widest = max(parts, key=lambda grid: grid.columns)
            stacks[number] = stack.with_columns(widest.xs[1:-1], loose=True)
            columns = [grid for grid in columns if grid not in parts]
            columns.append(stacks[number])
    rest = [stack for stack in stacks if stack.columns == 1] + [grid for grid in grids if grid.columns == 1]
    return sorted(columns, key=lambda grid: (grid.ys[0], grid.xs[0])) + rest


def find_stacks(rulings: Sequence[Ruling], breaks: Callable[[Box], bool] = lambda band: False) -> list[Grid]:
    """Rules of one width above one another, as in tables without vertical lines: one column, a slot between two."""
    stacks: list[list[Box]] = []
    for rule in sorted(
        (r.box for r in rulings if r.horizontal and r.box.width >= MIN_RULE), key=lambda b: (b.y0, b.x0)
    ):
        for stack in stacks[-20:]:
            top = stack[0]
            if abs(top.x0 - rule.x0) <= SAME_ENDS and abs(top.x1 - rule.x1) <= SAME_ENDS:
                stack.append(rule)
                break
        else:
            stacks.append([rule])
    grids = []
    for stack in stacks:
        x0, x1 = min(r.x0 for r in stack), max(r.x1 for r in stack)
        runs: list[list[float]] = [[]]
        for y in _positions((rule.y0, rule.width) for rule in stack):
            if runs[-1] and breaks(Box(x0, runs[-1][-1], x1, y)):
                runs.append([])
            runs[-1].append(y)
        for ys in runs:
            if len(ys) >= 2:
                grids.append(Grid([x0, x1], ys, np.ones((len(ys) - 1, 0), bool), np.ones((len(ys) - 2, 1), bool)))
    return grids


def _components(meet: Walls) -> list[tuple[list[int], list[int]]]:
    """Rows and columns of `meet` that hang together, at least two of one and one of the other."""
    n = meet.shape[0]
    parent = list(range(n + meet.shape[1]))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for row, column in np.argwhere(meet).tolist():
        a, b = root(row), root(n + column)
        parent[max(a, b)] = min(a, b)
    members: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for node in range(len(parent)):
        members[root(node)][node >= n].append(node if node < n else node - n)
    return [(rows, columns) for rows, columns in members.values() if len(rows) >= 2 and columns]


def _grid(h: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> Grid | None:
    """The grid of lines that hang together: h and v have a Box in each row."""
    xs = _positions(zip(v[:, 0].tolist(), (v[:, 3] - v[:, 1]).tolist(), strict=True))
    ys = _positions(zip(h[:, 1].tolist(), (h[:, 2] - h[:, 0]).tolist(), strict=True))
    # Sides that nobody drew: rules of a table with open sides reach beyond its outermost lines.
    for edges, low, high in ((xs, h[:, 0], h[:, 2]), (ys, v[:, 1], v[:, 3])):
        before, after = low[low < edges[0] - OPEN_SIDE], high[high > edges[-1] + OPEN_SIDE]
        if len(before) * 2 >= min(len(low), 4):
            edges.insert(0, float(before.min()))
        if len(after) * 2 >= min(len(high), 4):
            edges.append(float(after.max()))
    if len(xs) < 2 or len(ys) < 2 or (len(xs) - 1) * (len(ys) - 1) > MAX_SLOTS:
        return None
    across = [_drawn(v[np.abs(v[:, 0] - x) <= NARROW][:, [1, 3]], ys) for x in xs[1:-1]]
    down = [_drawn(h[np.abs(h[:, 1] - y) <= NARROW][:, [0, 2]], xs) for y in ys[1:-1]]
    return Grid(
        xs,
        ys,
        np.array(across, bool).reshape(len(xs) - 2, len(ys) - 1).T,
        np.array(down, bool).reshape(len(ys) - 2, len(xs) - 1),
    )


def _positions(lines: Iterable[tuple[float, float]]) -> list[float]:
    """Distinct positions of lines (position, length): of those nearer to each other than NARROW the longest."""
    distinct: list[float] = []
    for position, _ in sorted(lines, key=lambda line: (-line[1], line[0])):
        at = bisect_left(distinct, position)
        if all(abs(position - near) > NARROW for near in distinct[max(0, at - 1) : at + 1]):
            distinct.insert(at, position)
    return distinct


def _drawn(lines: npt.NDArray[np.float64], edges: Sequence[float]) -> Walls:
    """For each slot between `edges`, whether lines (start, end) cover WALL of it."""
    low, high = np.array(edges[:-1]), np.array(edges[1:])
    covered = np.clip(np.minimum(lines[:, None, 1], high) - np.maximum(lines[:, None, 0], low), 0, None).sum(axis=0)
    result: Walls = covered >= WALL * (high - low)
    return result
