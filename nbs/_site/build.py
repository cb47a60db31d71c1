"""What `make` does with the notebooks, besides running them: compare, tidy up, README.md, documentation.

    python nbs/_site/build.py check-export | check-clean | check-readme | readme | docs
    python nbs/_site/build.py run NOTEBOOK.ipynb …
"""
import os, posixpath, re, shutil, subprocess, sys, tempfile
from pathlib import Path

from licences import licence_page

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
README_IMAGES = 'nbs/images/readme'  # plots that README.md shows, <this>-1.png and so on


def notebooks(): return sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if not any(part[0] in '._' for part in p.relative_to(ROOT).parts))


def stop_unless_same(
    differ, # names of files that are not as they should be
    remedy, # what to do
):
    "Ends the program with one sentence where anything differs."
    if differ: sys.exit(f"{', '.join(sorted(differ))}: {remedy}")


def differing(want, have):
    "Names whose contents differ between two dicts from name to bytes, or that only one of them has."
    return {n for n in {*want, *have} if want.get(n) != have.get(n)}


# --- alignsurvey/ is what the notebooks export

def contents(paths, root): return {p.relative_to(root).as_posix(): p.read_bytes() for p in paths}


def modules(root): return contents([p for p in (root/'alignsurvey').rglob('*.py') if '.ipynb_checkpoints' not in p.parts], root)


def check_export():
    "Exports into a copy and compares: the working tree is not touched, and modules without a notebook are found too."
    with tempfile.TemporaryDirectory() as tmp:
        copy = Path(tmp)/ROOT.name
        for f in ['settings.ini', *(p.relative_to(ROOT) for p in notebooks())]:
            (copy/f).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT/f, copy/f)
        (copy/'alignsurvey').mkdir()
        if (ROOT/'alignsurvey/__init__.py').exists(): shutil.copy(ROOT/'alignsurvey/__init__.py', copy/'alignsurvey')
        env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}
        subprocess.run([Path(sys.executable).with_name('nbdev_export')], cwd=copy, env=env, check=True)
        stop_unless_same(differing(modules(copy), modules(ROOT)),
            'not what the notebooks export; change the notebook, not the module, then run .venv/bin/nbdev_export')
    print(f'{len(modules(ROOT))} modules are as exported')


# --- Notebooks are clean

def check_clean():
    "Cleans each notebook in memory and compares."
    from execnb.nbio import nb2str, read_nb
    from nbdev.clean import clean_nb
    from nbdev.config import get_config
    differ, keys = set(), lambda k: get_config().get(k, '').split()
    for p in notebooks():
        nb = read_nb(p)
        clean_nb(nb, get_config().clear_all, keys('allowed_metadata_keys'), keys('allowed_cell_metadata_keys'), get_config().clean_ids)
        if 'widgets' in nb.metadata or nb2str(nb) != p.read_text(encoding='utf-8'): differ.add(p.relative_to(ROOT).as_posix())
    stop_unless_same(differ, 'not clean, so that every run would show as a change; run .venv/bin/nbdev_clean, or build.py run where progress bars left their state')
    print(f'{len(notebooks())} notebooks are clean')


# --- Running a notebook for its outputs

def _is_progress(output):
    "Progress bars, and what libraries say to stderr."
    return output.get('name') == 'stderr' or 'application/vnd.jupyter.widget-view+json' in output.get('data', {})


def run(*paths):
    "Executes notebooks in place, keeps the outputs that a reader wants to see, and cleans them."
    import nbformat
    from nbclient import NotebookClient
    for p in map(Path, paths):
        nb = nbformat.read(p, as_version=4)
        NotebookClient(nb, timeout=3600, kernel_name='python3', resources={'metadata': {'path': str(p.parent)}}).execute()
        for c in nb.cells:
            if c.cell_type == 'code': c.outputs = [o for o in c.outputs if not _is_progress(o)]
        nb.metadata.pop('widgets', None)  # what progress bars remember
        nbformat.write(nb, p)
        subprocess.run([Path(sys.executable).with_name('nbdev_clean'), '--fname', p], cwd=ROOT, check=True)
        print(p)


# --- README.md

def _from_root(m):
    "A link of the notebook, relative to nbs/, as one that works beside README.md."
    return m[0] if re.match(r'[a-z]+:|[#/]', m[2]) else f"{m[1]}({posixpath.normpath('nbs/' + m[2])})"


def _for_readers(cells):
    "Cells as a reader sees them: hidden ones and directives gone, links from the root. Also gives the alternative texts of plots."
    out, alts = [], []
    for c in cells:
        told = dict(re.findall(r'^#\| *([\w-]+):? *(.*)$', c.source, re.MULTILINE)) if c.cell_type == 'code' else {}
        if {'hide', 'default_exp', 'export'} & told.keys() or told.get('include') == 'false': continue
        if c.cell_type == 'code':
            c.source = re.sub(r'^#\|.*\n?', '', c.source, flags=re.MULTILINE)
            if told.get('output') == 'false': c.outputs = []
            alts += [told.get('fig-alt', 'plot').strip('"\'')] * sum('image/png' in o.get('data', {}) for o in c.outputs)
            if told.get('echo') == 'false': c.metadata['tags'] = ['no-input']
        else: c.source = re.sub(r'(\[[^]]*\])\(([^)\s]+)\)', _from_root, c.source)
        out.append(c)
    return out, alts


def readme_files():
    "README.md and its plots, as nbs/index.ipynb would have them: name -> bytes."
    import nbformat
    from nbconvert import MarkdownExporter
    from traitlets.config import Config
    nb = nbformat.read(ROOT/'nbs/index.ipynb', as_version=4)
    nb.metadata['language_info'] = {'name': 'python'}  # which nbdev_clean takes away, and code blocks need
    nb.cells, alts = _for_readers(nb.cells)
    config = Config({'TagRemovePreprocessor': {'remove_input_tags': {'no-input'}, 'enabled': True}})
    resources = {'unique_key': 'out', 'output_files_dir': 'out'}
    text, resources = MarkdownExporter(config=config).from_notebook_node(nb, resources)
    text, files, alts = re.sub(r'<style scoped>.*?</style>\n?', '', text, flags=re.DOTALL), {}, iter(alts)
    for i, (name, data) in enumerate(resources['outputs'].items(), 1):
        shown = f'{README_IMAGES}-{i}{Path(name).suffix}'
        text, files[shown] = re.sub(r'!\[[^]]*\]\(' + re.escape(name) + r'\)', lambda m: f'![{next(alts)}]({shown})', text), data
    files['README.md'] = (re.sub(r'\n{3,}', '\n\n', re.sub(r'[ \t]+$', '', text, flags=re.MULTILINE)).strip() + '\n').encode()
    return files


def _readme_now(): return contents([*ROOT.glob('README.md'), *ROOT.glob(README_IMAGES + '-[0-9]*')], ROOT)


def readme():
    "Writes README.md and its plots."
    files = readme_files()
    for name in _readme_now().keys() - files.keys(): (ROOT/name).unlink()
    for name, data in files.items():
        (ROOT/name).parent.mkdir(exist_ok=True)
        (ROOT/name).write_bytes(data)
    print(f"wrote {', '.join(sorted(files))}")


def check_readme():
    "Compares README.md and its plots with what they would be."
    stop_unless_same(differing(readme_files(), _readme_now()), 'not what nbs/index.ipynb says; run make readme')
    print('README.md is as nbs/index.ipynb says')


# --- Documentation

def _about(src):
    "Pages that come from files outside nbs/: citation, licence, and where each survey is from."
    about = src/'about'
    about.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE/'about.md', about/'index.md')
    shutil.copy(HERE/'security.md', about/'security.md')
    for name in 'CHANGELOG', 'CODE_OF_CONDUCT': shutil.copy(ROOT/f'{name}.md', about/f'{name.lower()}.md')
    (about/'licences.md').write_text(licence_page(), encoding='utf-8')
    for p in sorted((ROOT/'data').glob('*/README.md')): shutil.copy(p, about/f'data-{p.parent.name}.md')


def docs():
    "Notebooks to pages with nbdev, pages to a site with Sphinx: _proc/, then _docs/."
    sys.path.insert(0, str(HERE))  # so that nbdev's workers find the filter
    import nbdev.serve
    from gallery import gallery
    from pages import SitePages
    nbdev.serve.FilterDefaults = SitePages
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    src = nbdev.serve.proc_nbs(n_workers=2, force=True)
    _about(src)
    gallery(src)
    from sphinx.cmd.build import main
    with tempfile.TemporaryDirectory() as tmp:  # an old site stays until a new one is whole
        failed = main(['-q', '--no-color', '-j', '2', '-b', 'html', '-c', str(HERE), '-d', f'{tmp}/doctrees', str(src), f'{tmp}/html'])
        if failed: sys.exit(f'_docs: not built; Sphinx stopped with code {failed} and says why above')
        shutil.rmtree(ROOT/'_docs', ignore_errors=True)
        shutil.move(f'{tmp}/html', ROOT/'_docs')
    print('open _docs/index.html')


if __name__ == '__main__':
    jobs = {'check-export': check_export, 'check-clean': check_clean, 'check-readme': check_readme, 'readme': readme, 'docs': docs}
    if sys.argv[1:2] == ['run']: run(*sys.argv[2:])
    elif sys.argv[1:] in [[j] for j in jobs]: os.chdir(ROOT); jobs[sys.argv[1]]()
    else: sys.exit(__doc__)
