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


def repository_links(
    url, # of the public repository, `git_url` of settings.ini; '' where there is none yet
    branch, # that pages are edited on
)->dict: # options of the theme
    "Each page's way to its notebook: to edit it, and to open it on Colab or Binder."
    if not url:
        return {}
    elsewhere = dict(colab_url='https://colab.research.google.com', binderhub_url='https://mybinder.org',
        notebook_interface='jupyterlab')
    return dict(repository_url=url, repository_branch=branch, path_to_docs='nbs', use_repository_button=True,
        use_edit_page_button=True, launch_buttons=elsewhere)


def install_line(
    url, # as above
)->str: # Markdown, to stand below a page's title
    "Colab has not installed this library: the cell that its button's page needs."
    if not url:
        return ''
    return f'\n\n{{.elsewhere}}\nOn Colab, run this first, in a cell of its own: `%pip install -q git+{url}`'


html_theme_options = dict(show_toc_level=2, use_download_button=False, use_fullscreen_button=False,
    **repository_links(cfg['git_url'], cfg['branch']))


ROOMS = ['files', 'metrics', 'estimation', 'surveys', 'records', 'parsing', 'tasks', 'models', 'training',
    'prediction', 'evaluation', 'reporting', 'study', 'teaching', 'cli']    # the reference's chapters, in the order in which they build on each other
CAPTIONS = {'recipes': 'How-to: survey sources'}    # what the navigation calls a folder, where its name would not say it
FIRST = '00_index'    # a chapter's first page


def _order(pages, index):
    "Pages in the order in which the start page links to them; those that it leaves out follow by name."
    linked = re.findall(r'\(([\w/.-]+)\.ipynb', index)
    return sorted(pages, key=lambda p: (linked.index(p) if p in linked else len(linked), p))


def page_names(
    src, # folder of the finished pages
)->list: # such as 'tasks/03_role'
    "All pages but the start."
    found = [*src.rglob('*.ipynb'), *src.rglob('*.md')]
    names = sorted(p.relative_to(src).with_suffix('').as_posix() for p in found)
    return [n for n in names if n != root_doc and not any(part[0] in '._' for part in n.split('/'))]


def contents(
    names, # of all pages
    index, # text of the start page
)->dict: # caption -> page names; whatever pages there are, so that a new notebook needs no entry anywhere
    "The navigation: what to do, then the reference by chapter, then what to cite."
    folders = {n.split('/')[0] for n in names if '/' in n} - {*ROOMS, 'about', 'images'}
    groups = {}
    for folder in sorted(folders, key=lambda f: (f != 'tutorials', f)):
        pages = [n for n in names if n.startswith(f'{folder}/')]
        groups[CAPTIONS.get(folder, folder.capitalize())] = _order(pages, index)
    top = [n for n in names if '/' not in n]
    groups['Reference'] = [f'{room}/{FIRST}' for room in ROOMS if f'{room}/{FIRST}' in names] + top
    groups['About'] = sorted((n for n in names if n.startswith('about/')), key=lambda n: (n != 'about/index', n))
    return {caption: pages for caption, pages in groups.items() if pages}


def _toctree(pages, *, caption=None, first=None):
    lines = ['```{toctree}', ':hidden:', *([f':caption: {caption}'] if caption else []), '']
    return '\n'.join([*lines, *([first] if first else []), *pages, '```'])


def _navigation(docname, names, index):
    "The tables of contents that a page carries: all of the site's, or a chapter's."
    if docname == root_doc:
        trees = [_toctree(pages, caption=caption) for caption, pages in contents(names, index).items()]
        return '\n\n'.join([_toctree([], first='Start <self>'), *trees])
    room, _, page = docname.partition('/')
    if page != FIRST:
        return ''
    return _toctree([n.split('/')[1] for n in names if n.startswith(f'{room}/') and n != docname])


def finish_page(app, docname, source):
    "Links names of functions; gives the start page and each chapter's first page their navigation."
    if not (Path(app.srcdir)/f'{docname}.ipynb').exists():
        return
    nb = json.loads(source[0])
    cells = [c for c in nb['cells'] if c['cell_type'] == 'markdown']
    cells[0]['source'] = text_of(cells[0]['source']) + install_line(cfg['git_url'])
    index = '\n'.join(text_of(c['source']) for c in cells)
    trees = _navigation(docname, page_names(Path(app.srcdir)), index)
    if trees:
        nb['cells'].append(dict(cell_type='markdown', id='contents', metadata={}, source=trees))
    for c in cells:
        c['source'] = link_names(text_of(c['source']), app.env.documented_names)
    source[0] = json.dumps(nb)


def find_names(app, env, docnames):
    env.documented_names = set().union(*(names_in(read(p)) for p in Path(app.srcdir).rglob('*.ipynb')))


UNUSED = 'fontawesome'    # icons come from the theme's font, so that its megabyte of drawings is not needed
SEARCH = 'searchtools|language_data|searchindex'    # what the search's own page needs, and no other


def mend_page(
    html, # of a finished page
    searches=False, # True: the page of the search
)->str:
    "Takes out scripts that the page doesn't use; gives a name to what a screen reader would read without, or by another name than is seen."
    dead = UNUSED if searches else f'{UNUSED}|{SEARCH}'
    html = re.sub(rf'<script[^>]*(?:{dead})[^>]*></script>\s*', '', html)
    html = html.replace(' aria-label="Toggle hidden content"', '')
    html = re.sub(r'(search-button-field[^>]*?) aria-label="Search"', r'\1', html)
    return re.sub(r'>([^<]*)(</a><details[^>]*>)<summary>', r'>\1\2<summary aria-label="pages of \1">', html)


def mend_pages(app, exception):
    for path in [] if exception else Path(app.outdir).rglob('*.html'):
        html = path.read_text(encoding='utf-8')
        path.write_text(mend_page(html, path.name == 'search.html'), encoding='utf-8')


def setup(app):
    app.connect('build-finished', mend_pages)
    app.connect('env-before-read-docs', find_names)
    app.connect('source-read', finish_page)
