"The house: who may import whom, what is private, and that importing does nothing but define."
import ast
import builtins
import functools
import importlib
import inspect
import json
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT/'alignsurvey'
ROOMS = ['files', 'metrics', 'estimation', 'surveys', 'records', 'parsing', 'tasks', 'models',
    'training', 'prediction', 'evaluation', 'reporting', 'study', 'teaching', 'cli']    # a staircase, from top to bottom


def module_name(path):
    "alignsurvey/files/tables.py -> alignsurvey.files.tables; a package for its __init__."
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def modules():
    found = {module_name(p): p for p in PACKAGE.rglob('*.py') if p.name != '_modidx.py'}
    return {name: ast.parse(p.read_text(encoding='utf-8')) for name, p in sorted(found.items())}


def absolute(name, node):
    "The module that a `from … import` names, whether relative or not."
    if not node.level:
        return node.module or ''
    is_package = (ROOT/name.replace('.', '/')/'__init__.py').exists()
    parts = name.split('.')
    base = parts[:len(parts) - node.level + is_package]
    return '.'.join(base + ([node.module] if node.module else []))


def imports(name, tree):
    "(module, imported name or None, line) of everything taken from this package, inside functions too."
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            source = absolute(name, node)
            if source.split('.')[0] == 'alignsurvey':
                for alias in node.names:
                    yield source, alias.name, node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split('.')[0] == 'alignsurvey':
                    yield alias.name, None, node.lineno


def room_of(module):
    parts = module.split('.')
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else None


def target(source, name):
    "The module that is really imported: `from alignsurvey.metrics import texts` imports metrics.texts."
    inner = f'{source}.{name}'
    return inner if name and (PACKAGE.parent/(inner.replace('.', '/') + '.py')).exists() else source


MODULES = modules()
EDGES = [(name, target(source, what), what, line)
    for name, tree in MODULES.items() for source, what, line in imports(name, tree)]


def test_no_room_imports_from_a_room_below():
    up = [f'{name}:{line} imports {to}' for name, to, _, line in EDGES
        if room_of(name) and room_of(to) and ROOMS.index(room_of(to)) > ROOMS.index(room_of(name))]
    assert not up, up


def test_no_room_imports_the_top():
    assert not [e for e in EDGES if e[1] == 'alignsurvey.all']


def test_imports_make_no_circle():
    graph = {}
    for name, to, _, _ in EDGES:
        graph.setdefault(name, set()).add(to)
    done = set()

    def visit(name, path):
        assert name not in path, ' -> '.join([*path[path.index(name):], name])
        if name in done:
            return
        for to in sorted(graph.get(name, ())):
            visit(to, [*path, name])
        done.add(name)

    for name in sorted(graph):
        visit(name, [])


def is_private(what):
    return bool(what) and what.startswith('_') and not what.startswith('__')


def attributes(tree):
    "Modules of this package bound to a name, and private attributes taken from them: `scores._mean`."
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bound |= {a.asname: a.name for a in node.names
                if a.asname and a.name.startswith('alignsurvey')}
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or '').startswith('alignsurvey'):
            for a in node.names:
                module = target(node.module, a.name)
                if module != node.module:
                    bound[a.asname or a.name] = module
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            yield bound[node.value.id], node.attr, node.lineno


@functools.cache
def everything():
    "Modules of the library, tests and benchmarks."
    found = dict(MODULES)
    for folder in 'tests', 'benchmarks':
        for path in (ROOT/folder).rglob('*.py'):
            found[f'{folder}/{path.name}'] = ast.parse(path.read_text(encoding='utf-8'))
    return found


@pytest.mark.parametrize('name', sorted(everything()))
def test_nobody_takes_a_private_name_from_another_module(name):
    tree = everything()[name]
    taken = [f'{what} of {source}, line {line}' for source, what, line in imports(name, tree)
        if is_private(what) and source != name]
    taken += [f'{what} of {source}, line {line}' for source, what, line in attributes(tree) if is_private(what)]
    assert not taken, taken


def test_nothing_is_imported_for_its_side_effects():
    "What is imported is used: a name that is never read again was imported for what importing does."
    idle = []
    for name, tree in MODULES.items():
        if name.split('.')[-1] == 'all' or (ROOT/name.replace('.', '/')/'__init__.py').exists():
            continue
        read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [(a.asname or a.name.split('.')[0], a.name) for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(a.asname or a.name, a.name) for a in node.names]
            else:
                continue
            idle += [f'{name}:{node.lineno} {what}' for bound, what in names
                if bound not in read or (isinstance(node, ast.Import) and '.' in what and what.startswith('alignsurvey'))]
    assert not idle, idle


def exported():
    "Package -> names that it re-exports."
    packages = [n for n in MODULES if (ROOT/n.replace('.', '/')/'__init__.py').exists() and n.count('.') == 1]
    return {n: importlib.import_module(n).__all__ for n in packages}


def test_a_module_never_bears_the_name_of_a_function_that_its_package_exports():
    for package, names in exported().items():
        beside = {p.stem for p in (ROOT/package.replace('.', '/')).glob('*.py')}
        assert not beside & set(names), (package, beside & set(names))


def test_every_exported_name_is_there_once():
    seen = {}
    for package, names in exported().items():
        module = importlib.import_module(package)
        for name in names:
            value = getattr(module, name)
            assert seen.setdefault(name, value) is value, f'{name} means two things'


def code_cells():
    "Each code cell of the pages: page, source, whether it is exported."
    for path in sorted((ROOT/'nbs').rglob('*.ipynb')):
        if any(part[0] in '._' for part in path.relative_to(ROOT).parts):
            continue
        for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
            source = ''.join(cell['source'])
            if cell['cell_type'] == 'code':
                yield path.relative_to(ROOT/'nbs').as_posix(), source, source.startswith('#| export')


def test_lines_and_cells_fit_a_page():
    long, lengths = [], []
    for page, source, exported in code_cells():
        most = 100 if exported else 88
        if exported or page.startswith(('tutorials', 'recipes', 'course', 'index')):
            long += [(page, line) for line in source.split('\n') if len(line) > most and 'http' not in line]
        if exported:
            lengths.append(source.count('\n') + 1)
    assert long == []
    assert max(lengths) <= 41 and statistics.median(lengths) <= 14    # one line says that it is exported


def shown_and_hidden(path):
    "Code that a reader of a page sees, and code that is not shown; lines for IPython apart."
    shown, hidden = [], []
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'code' and not source.startswith('%%'):
            lines = [line for line in source.split('\n') if not line.lstrip().startswith(('%', '!'))]
            unseen = re.search(r'^#\|\s*(hide\b|include:\s*false|echo:\s*false)', source, re.M)
            (hidden if unseen else shown).append('\n'.join(lines))
    return '\n'.join(shown), '\n'.join(hidden)


def names_given(tree):
    "Names that code gives a meaning: imports, definitions, arguments, what is assigned to."
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if alias.name == '*':
                    yield from importlib.import_module(node.module).__all__
                else:
                    yield (alias.asname or alias.name).split('.')[0]
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name


@pytest.mark.parametrize('page', [p.relative_to(ROOT/'nbs').as_posix() for room in ('tutorials', 'recipes', 'course')
    for p in sorted((ROOT/'nbs'/room).glob('*.ipynb'))])
def test_a_page_can_be_typed_off(page):
    "What a reader sees runs without what is hidden: every name is defined in sight, and so is the folder that is worked in."
    shown, hidden = shown_and_hidden(ROOT/'nbs'/page)
    tree = ast.parse(shown)
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    known = {*names_given(tree), *dir(builtins), 'get_ipython', 'display'}
    assert sorted(read - known) == []
    assert 'chdir' not in hidden


def first_cell(path):
    return ''.join(json.loads(path.read_text(encoding='utf-8'))['cells'][0]['source'])


def test_a_chapter_says_of_its_pages_what_they_say_of_themselves():
    said = {}
    for chapter in sorted((ROOT/'nbs').glob('*/00_index.ipynb')):
        cells = json.loads(chapter.read_text(encoding='utf-8'))['cells']
        listed = re.findall(r'^- \[.+?\]\((\d\d_\w+\.ipynb)\): (.+)$', '\n'.join(''.join(c['source']) for c in cells), re.M)
        pages = sorted(p.name for p in chapter.parent.glob('[0-9][0-9]_*.ipynb') if p != chapter)
        assert sorted(name for name, _ in listed) == pages, chapter
        said |= {chapter.parent/name: line for name, line in listed}
    own = {page: re.search(r'^> (.+?)\.?$', first_cell(page), re.M)[1] for page in said}
    assert said == own


def names_used(source):
    "Names that a cell reads, also behind a dot; lines for IPython apart."
    lines = [line for line in source.split('\n') if not line.lstrip().startswith(('%', '!'))]
    try:
        tree = ast.parse('\n'.join(lines))
    except SyntaxError:    # %%bash and such
        return set()
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return names | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}


def test_every_public_function_has_an_example_that_is_run():
    shown = set().union(*(names_used(source) for _, source, exported in code_cells() if not exported))
    library = importlib.import_module('alignsurvey.all')
    functions = {name for name in library.__all__ if inspect.isfunction(getattr(library, name))}
    assert len(functions) > 200 and not functions - shown, functions - shown
