"""From a notebook to a page: the processors that nbdev runs on each notebook before Sphinx reads it.

nbdev alone prepares notebooks for Quarto. Here the same steps end in what Sphinx with myst-nb reads: the text
under the title stays, an exported function gets a table of its parameters, and its source is folded away below."""
import ast, importlib, inspect, json, re
from functools import reduce
from textwrap import dedent
import typer
from fastcore.docments import docments
from nbdev.config import get_config
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import Processor
from nbdev.processors import FilterDefaults, add_fold, add_links, clean_show_doc, exec_show_docs, insert_warning, mv_exports, rm_export

DIRECTIVE = re.compile(r'^#\| *([\w-]+): *(.*)\n?', re.MULTILINE)
EXPORTS = {'export', 'exporti', 'exports'}
EMPTY = inspect.Parameter.empty
NAMES_HERE = '<!-- every public name -->'


def tag(cell, name): cell.metadata['tags'] = [*cell.metadata.get('tags', []), name]


def text_of(source): return ''.join(source) if isinstance(source, list) else source


def read(path): return json.loads(path.read_text(encoding='utf-8'))


# --- What the site says of a function or class

def is_private(name):
    "Whether a name, or the class that it belongs to, is nobody else's; a module's `__getattr__` is Python's."
    *classes, last = name.split('.')
    return any(part.startswith('_') for part in classes or [last])


def api_label(name):
    "Where a name is documented. Labels know no case, so that a class (`Ask`) needs another than a function (`ask`)."
    kind = 'api-class-' if name[0].isupper() and '.' not in name else 'api-'
    return kind + name.lower().replace(' ', '-')


def _is_error(sym):
    "Errors are made from a sentence, which Python has no signature for."
    return inspect.isclass(sym) and issubclass(sym, BaseException)


def _shown(value):
    "A default as it would be typed; one that is made anew each time is left open."
    text = getattr(value, '__name__', None) or re.sub(r' at 0x\w+', '', repr(value))
    return '...' if text == '<factory>' else text


def signature_line(
    sym,  # function, method, class or property
    name, # how to call it
)->str: # name and arguments, on several lines where one would be long
    "A signature without types, which the table has."
    if isinstance(sym, property) or _is_error(sym): return name
    ps = [p for p in inspect.signature(sym).parameters.values() if p.name not in ('self', 'cls')]
    stars = {inspect.Parameter.VAR_POSITIONAL: '*', inspect.Parameter.VAR_KEYWORD: '**'}
    args = [stars.get(p.kind, '') + p.name + ('' if p.default is EMPTY else f'={_shown(p.default)}') for p in ps]
    keyword = next((i for i, p in enumerate(ps) if p.kind == p.KEYWORD_ONLY), None)
    if keyword is not None and not any(p.kind == p.VAR_POSITIONAL for p in ps): args.insert(keyword, '*')
    line = f"{name}({', '.join(args)})"
    return line if len(line) <= 90 else f'{name}(\n    ' + ',\n    '.join(args) + ',\n)'


def _type(p):
    "A parameter's annotation, or else the type of its default."
    if p.anno in (EMPTY, None, type(None)): return ''
    name = p.anno if isinstance(p.anno, str) else p.anno.__name__ if inspect.isclass(p.anno) else inspect.formatannotation(p.anno)
    return f'`{name}`'


def _returned(sym, docs):
    "What is said of the value returned, which fastcore overlooks where there is no annotation."
    found = re.search(r'^\)(?:->.*?)?: *# *(.+)$', dedent(inspect.getsource(sym)), re.MULTILINE)
    return docs['return'].docment or (found[1] if found else '')


def table(
    rows,   # lists of cells; the first list is the header
)->str: # Markdown, without columns that are empty below the header; '' where only the first would be left
    "A Markdown table."
    keep = [i for i in range(len(rows[0])) if i == 0 or any(r[i] for r in rows[1:])]
    rows = [[re.sub(r'(?<!\\)\|', r'\\|', ' '.join((r[i] or '').split())) for i in keep] for r in rows]
    return '\n'.join('| ' + ' | '.join(r) + ' |' for r in [rows[0], ['---']*len(keep), *rows[1:]]) if len(keep) > 1 else ''


def parameters(
    sym, # function, method, class or property
)->str: # a Markdown table
    "Parameters and what comes back, from the comments beside them."
    sym = getattr(sym, 'fget', sym)
    if _is_error(sym): return ''
    docs = docments(sym, full=True)
    rows = [['Parameter', 'Type', 'Default', 'Meaning']]
    for n, p in docs.items():
        default = '' if p.default is EMPTY or _shown(p.default) == '...' else f'`{_shown(p.default)}`'
        if n not in ('self', 'cls', 'return'): rows.append([f'`{n}`', _type(p), default, p.docment])
    if not inspect.isclass(sym):
        back = [_type(docs['return']), '', _returned(sym, docs)]
        if any(back): rows.append(['returns', *back])
    return table(rows)


def api_text(
    sym,  # function, method, class or property
    name, # its name in the documentation
)->str: # Markdown
    "A heading to link to, the signature, the docstring, the table of parameters."
    parts = [f'({api_label(name)})=\n### `{name}`', f'```python\n{signature_line(sym, name)}\n```', inspect.getdoc(sym), parameters(sym)]
    return '\n\n'.join(p for p in parts if p)


def public_names():
    "Every public name by room, as Markdown."
    homes, rooms = importlib.import_module(f'{get_config().lib_name}.all').homes(), {}
    for name, room in sorted(homes.items(), key=lambda item: item[0].lower()): rooms.setdefault(room, []).append(f'`{name}`')
    return '\n\n'.join(f"[{room.capitalize()}]({room}/00_index.ipynb): {', '.join(rooms[room])}." for room in dict.fromkeys(homes.values()))


def commands(module):
    "The commands of a module that is a command line."
    return typer.main.get_command(module.app).commands if hasattr(module, 'app') else {}


def command_text(
    command, # of the command line
    name, # its name
)->str: # Markdown
    "A heading to link to, and what `--help` prints."
    called = f'{get_config().lib_name} {name}'
    said = command.get_help(typer.Context(command, info_name=called, terminal_width=80))
    return f'({api_label(called)})=\n### `{called}`\n\n```text\n{said}\n```'


# --- Processors, in the order in which they run

class show_docs(Processor):
    "A `show_doc` cell becomes what we say of its function, as it stands in the exported module."
    def begin(self):
        names = [c.directives_['default_exp'][0] for c in self.nb.cells if 'default_exp' in c.directives_]
        self.module = '.'.join([get_config().lib_name, *names[:1]])

    def cell(self, cell):
        asked = re.search(r'^show_doc\(([\w.]+)', cell.source, re.MULTILINE) if cell.cell_type == 'code' else None
        if not asked: return
        if is_private(asked[1]):
            del cell['source']
            return
        module = importlib.import_module(self.module)
        try: sym = reduce(getattr, asked[1].split('.'), module)
        except AttributeError: raise ValueError(f'{self.nb.path_}: {self.module} has no {asked[1]}: run nbdev_export') from None
        command = commands(module).get(asked[1])
        cell.source = command_text(command, asked[1]) if command else api_text(sym, asked[1])
        cell.cell_type, cell.shown_ = 'markdown', True
        for k in 'outputs', 'execution_count': cell.pop(k, None)


def fold_export(cell):
    "Exported code is folded away; hidden cells and bare imports go."
    told = cell.directives_.keys()
    if cell.cell_type != 'code' or not told & {*EXPORTS, 'hide', 'default_exp'}: return
    shown = ast.parse(cell.source).body if told & EXPORTS and 'hide' not in told else []
    body = [n for n in shown if not isinstance(n, (ast.Import, ast.ImportFrom))]
    if not body:
        del cell['source']
        return
    names = dict.fromkeys(n.name for n in body if hasattr(n, 'name'))
    cell.metadata['mystnb'] = {f'code_prompt_{k}': 'Source' + (f": {', '.join(names)}" if names else '') for k in ('show', 'hide')}
    cell.folded_ = True
    tag(cell, 'hide-input')


class list_of_names(Processor):
    "Where a page asks for it: every public name, by room; links to their documentation come later."
    def cell(self, cell):
        if cell.cell_type == 'markdown' and NAMES_HERE in cell.source: cell.source = cell.source.replace(NAMES_HERE, public_names())


class documentation_first(Processor):
    "A cell's functions in the order of its code, their documentation before the folded source."
    def begin(self):
        cells, out = list(self.nb.cells), []
        while cells:
            cell, shown = cells.pop(0), []
            while getattr(cell, 'folded_', False) and cells and getattr(cells[0], 'shown_', False): shown.insert(0, cells.pop(0))
            out += [*shown, cell]
        self.nb.cells = out


class title_and_lead(Processor):
    "The line under the title becomes a lead paragraph, and what search engines show."
    def begin(self):
        for cell in self.nb.cells:
            if cell.cell_type == 'markdown' and cell.source.startswith('# '): break
        else: return
        lead = re.search(r'^> (.+)$', cell.source, re.MULTILINE)
        if not lead: return
        cell.source = cell.source.replace(lead[0], f'{{.lead}}\n{lead[1]}', 1)
        self.nb.metadata['myst'] = {'html_meta': {'description': lead[1]}}


def show_as_told(cell):
    "`#| echo: false` and its like, in myst-nb's words; `#| fig-alt:` is the alternative text of a plot."
    if cell.cell_type != 'code': return
    told = dict(DIRECTIVE.findall(cell.source))
    cell.source = DIRECTIVE.sub('', cell.source)
    for directive, name in ('include', 'remove-cell'), ('echo', 'remove-input'), ('output', 'remove-output'):
        if told.get(directive) == 'false': tag(cell, name)
    if 'code-fold' in told: tag(cell, 'hide-input')
    if re.search(r'^# solution$', cell.source, re.MULTILINE):  # an exercise of the course, to be tried first
        for name in 'hide-input', 'solution': tag(cell, name)
        cell.metadata['mystnb'] = {f'code_prompt_{k}': 'A solution' for k in ('show', 'hide')}
    if 'fig-alt' in told: cell.metadata.setdefault('mystnb', {})['image'] = {'alt': told['fig-alt'].strip('"\'')}


class SitePages(FilterDefaults):
    "nbdev's filter, with the steps above in place of those meant for Quarto."
    def base_procs(self):
        ours = {exec_show_docs: show_docs, rm_export: fold_export}
        quarto = (FrontmatterProc, insert_warning, clean_show_doc, add_links, add_fold, mv_exports)
        return [ours.get(p, p) for p in super().base_procs() if p not in quarto] + [list_of_names, documentation_first, title_and_lead, show_as_told]


# --- Links, added when Sphinx reads the finished pages

def names_in(notebook):
    "Names of the functions and classes that a finished page documents."
    return set(re.findall(r'^\(api-[^)]+\)=\n#+ `([^`]+)`$', '\n\n'.join(text_of(c['source']) for c in notebook['cells']), re.MULTILINE))


def link_names(
    text,  # Markdown
    names, # names documented somewhere on the site
)->str: # the same, each `name` linked; headings, code blocks, links and the first column of tables stay as they are
    "Links function names in backticks to their documentation."
    def link(m): return f'[{m[0]}](#{api_label(m[1])})' if m[1] in names else m[0]
    lines, fenced = text.split('\n'), False
    for i, line in enumerate(lines):
        if line.startswith('```'): fenced = not fenced
        elif not fenced and not line.startswith(('#', '    ')):
            head = re.match(r'\| [^|]* \|', line)
            at = head.end() if head else 0
            lines[i] = line[:at] + re.sub(r'(?<!\[)`([A-Za-z][\w. ]*)(?:\(\))?`(?!\])', link, line[at:])
    return '\n'.join(lines)
