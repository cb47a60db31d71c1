"""The picture on a chapter's first page: its modules, and who builds on whom."""
import ast
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT/'alignsurvey'
WIDE, HIGH, GAP, DOWN = 136, 34, 18, 66    # a box, the space between two, and between two rows


def sources(
    path, # of a module
)->set: # names of the modules of this package that it imports, such as 'files.tables'
    "What a module builds on, read from its imports."
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = parts[:len(parts) - node.level]
            found.add('.'.join([*base, *([node.module] if node.module else [])]))
        elif (node.module or '').startswith('alignsurvey.'):
            found.add(node.module.removeprefix('alignsurvey.'))
    return found


def edges(
    room, # name of a subpackage
)->dict: # module -> modules of the same room that it builds on
    "The imports inside a room."
    modules = [p for p in sorted((PACKAGE/room).glob('*.py')) if not p.stem.startswith('__')]
    names = {p.stem for p in modules}
    return {p.stem: {s.split('.')[1] for s in sources(p) if s.startswith(f'{room}.')} & names for p in modules}


def others(
    room, # name of a subpackage
)->list: # the rooms that it builds on, by name
    "The rooms above."
    used = {s.split('.')[0] for p in (PACKAGE/room).glob('*.py') for s in sources(p)}
    return sorted(used - {room, 'all'})


def shortest(graph):
    "The same without arrows that follow from others: where a builds on b and b on c, a's on c."
    reach = {}

    def below(name):
        if name not in reach:
            reach[name] = set().union(*({b} | below(b) for b in graph[name]))
        return reach[name]

    return {n: {b for b in bs if not any(b in below(other) for other in bs - {b})} for n, bs in graph.items()}


def levels(graph):
    "Modules in rows: what builds on nothing is at the top."
    depth = {}

    def of(name):
        if name not in depth:
            depth[name] = 1 + max(map(of, graph[name]), default=-1)
        return depth[name]

    for name in graph:
        of(name)
    rows = [[] for _ in range(max(depth.values()) + 1)]
    for name in graph:
        rows[depth[name]].append(name)
    return [part for row in rows for part in (row[i:i + 5] for i in range(0, len(row), 5))]


def _box(name, x, y):
    return (f'<rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="5" fill="#E8F1F8" stroke="#0072B2"/>'
        f'<text x="{x + WIDE/2}" y="{y + 22}" text-anchor="middle">{escape(name)}</text>')


def _arrow(start, end):
    (x, y), (to_x, to_y) = start, end
    return f'<path d="M{x} {y} C{x} {y - 26} {to_x} {to_y + 26} {to_x} {to_y}" fill="none" stroke="#888" marker-end="url(#tip)"/>'


def picture(
    room, # name of a subpackage
): # an SVG that a notebook shows
    "A room's modules; an arrow points at what a module builds on."
    from IPython.display import SVG
    graph = edges(room)
    rows = levels(graph)
    width = max(map(len, rows))*(WIDE + GAP) + GAP
    place = {}
    for i, row in enumerate(rows):
        left = (width - len(row)*(WIDE + GAP) + GAP)/2
        for j, name in enumerate(row):
            place[name] = left + j*(WIDE + GAP), 10 + i*(HIGH + DOWN)
    arrows = [_arrow((place[n][0] + WIDE/2, place[n][1]), (place[b][0] + WIDE/2, place[b][1] + HIGH + 3))
        for n, bases in shortest(graph).items() for b in sorted(bases)]
    boxes = [_box(n, *place[n]) for n in graph]
    height = 20 + len(rows)*(HIGH + DOWN) - DOWN
    tip = ('<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="4" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#888"/></marker></defs>')
    return SVG(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'font-family="system-ui,sans-serif" font-size="14" role="img" '
        f'aria-label="Modules of {room}: {", ".join(graph)}">{tip}{"".join(arrows)}{"".join(boxes)}</svg>')
