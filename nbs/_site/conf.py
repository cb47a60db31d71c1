"""Sphinx's configuration. It reads the pages that build.py left in _proc/; nothing is executed here."""
import json, re, sys
from configparser import ConfigParser
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from pages import link_names, names_in, read, text_of  # noqa: E402

config = ConfigParser()
config.read(here.parent.parent/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
project, author, release, copyright = cfg['title'], cfg['author'], cfg['version'], cfg['copyright']

extensions = ['myst_nb']
root_doc = 'index'
exclude_patterns = ['**.ipynb_checkpoints']
nb_execution_mode = 'off'
nb_merge_streams = True
myst_enable_extensions = ['attrs_block', 'attrs_inline', 'colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 4
myst_dmath_allow_space = myst_dmath_allow_digits = False  # $25,000 is money
suppress_warnings = ['myst.header']  # a function's heading is always of level 3

html_theme = 'sphinx_book_theme'
html_title = cfg['title']
html_static_path = [str(here/'static')]
html_css_files = ['site.css']
html_copy_source = html_show_sourcelink = False
html_theme_options = dict(show_toc_level=2, use_download_button=False, use_fullscreen_button=False)


TITLES = {'recipes': 'How-to: survey sources'}  # what the navigation calls a folder, where its name would not say it


def _order(pages, index):
    "Pages in the order in which the start page links to them; those that it leaves out follow by name."
    linked = re.findall(r'\(([\w/.-]+)\.ipynb', index)
    return sorted(pages, key=lambda p: (linked.index(p) if p in linked else len(linked), p))


def contents(
    src,    # folder of the finished pages
    index,  # text of the start page
)->dict: # caption -> page names; whatever pages there are, so that a new notebook needs no entry anywhere
    "The navigation: what to do, then what there is, then what to cite."
    names = sorted(p.relative_to(src).with_suffix('').as_posix() for p in [*src.rglob('*.ipynb'), *src.rglob('*.md')])
    names = [n for n in names if n != root_doc and not any(p[0] in '._' for p in n.split('/'))]
    folders = sorted({n.split('/')[0] for n in names if '/' in n} - {'about', 'images'}, key=lambda f: (f != 'tutorials', f))
    groups = {TITLES.get(f, f.capitalize()): _order([n for n in names if n.startswith(f + '/')], index) for f in folders}
    groups['Reference'] = [n for n in names if re.match(r'\d', n)]
    loose = [n for n in names if '/' not in n and n not in groups['Reference']]
    groups['About'] = loose + sorted((n for n in names if n.startswith('about/')), key=lambda n: (n != 'about/index', n))
    return {k: v for k, v in groups.items() if v}


def _toctrees(groups):
    start = '```{toctree}\n:hidden:\n\nStart <self>\n```'
    return '\n\n'.join([start, *('\n'.join(['```{toctree}', ':hidden:', f':caption: {k}', '', *v, '```']) for k, v in groups.items())])


def finish_page(app, docname, source):
    "Links names of functions; gives the start page its navigation."
    if not (Path(app.srcdir)/f'{docname}.ipynb').exists(): return
    nb = json.loads(source[0])
    cells = [c for c in nb['cells'] if c['cell_type'] == 'markdown']
    if docname == root_doc:
        index = '\n'.join(text_of(c['source']) for c in cells)
        nb['cells'].append(dict(cell_type='markdown', id='contents', metadata={}, source=_toctrees(contents(Path(app.srcdir), index))))
    for c in cells: c['source'] = link_names(text_of(c['source']), app.env.documented_names)
    source[0] = json.dumps(nb)


def find_names(app, env, docnames):
    env.documented_names = set().union(*(names_in(read(p)) for p in Path(app.srcdir).rglob('*.ipynb')))


def setup(app):
    app.connect('env-before-read-docs', find_names)
    app.connect('source-read', finish_page)
