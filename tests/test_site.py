"The documentation as a browser shows it: at 1,300 pixels nothing has to be scrolled sideways, and no text runs beside a picture."
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from base64 import b64encode
from html import unescape
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT/'_docs'
sys.path.insert(0, str(ROOT/'nbs/_site'))

from gallery import gallery  # noqa: E402
from pages import SitePages, names_in, show_as_told, text_of  # noqa: E402
from rooms import picture  # noqa: E402

BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
WIDTH = 1300
LOOKER = '''<!doctype html><pre id="found">waiting</pre><script>
const pages = PAGES, wide = [], beside = [];
const frame = document.createElement('iframe');
frame.width = WIDTH; frame.height = 900;
document.body.append(frame);
const fits = e => e.scrollWidth <= e.clientWidth + 1;
async function look(page) {
  await new Promise(done => { frame.onload = done; frame.src = '/' + page; });
  const doc = frame.contentDocument;
  doc.querySelectorAll('details').forEach(d => d.open = true);
  for (const e of [doc.documentElement, ...doc.querySelectorAll('article pre, article .output, article table, article .cell_output')])
    if (!fits(e)) wide.push([page, e.tagName, e.scrollWidth, e.clientWidth, e.textContent.trim().split('\\n')
      .sort((a, b) => b.length - a.length)[0].slice(0, 60)]);
  for (const e of doc.querySelectorAll('article figure'))
    if (frame.contentWindow.getComputedStyle(e).float !== 'none') beside.push([page, e.id]);
}
(async () => {
  for (const page of pages) await look(page);
  document.getElementById('found').textContent = JSON.stringify({looked: pages.length, wide, beside});
})();
</script>'''


@pytest.fixture
def site(tmp_path):
    "Address of the built site, with a page beside it that looks at all others."
    pages = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob('*.html') if not p.name.startswith('_'))
    pages = [p for p in pages if p not in ('search.html', 'genindex.html')]
    looker = LOOKER.replace('PAGES', json.dumps(pages)).replace('WIDTH', str(WIDTH))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path != '/looker':
                return super().do_GET()
            self.send_response(200)
            self.send_header('Content-Type', 'text/html')
            self.end_headers()
            self.wfile.write(looker.encode())

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}/looker', pages
    server.shutdown()


@pytest.mark.skipif(not BROWSER, reason='no Chromium')
@pytest.mark.skipif(not SITE.exists(), reason='the documentation is not built: make docs')
def test_no_page_scrolls_sideways_and_pictures_stand_alone(site, tmp_path):
    address, pages = site
    ask = [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={tmp_path}', f'--window-size={WIDTH + 60},1000',
        '--virtual-time-budget=600000', '--dump-dom', address]
    done = subprocess.run(ask, capture_output=True, text=True, timeout=300, env={**os.environ, 'HOME': str(tmp_path)})
    said = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert said and said[1] != 'waiting', done.stderr[-500:]
    found = json.loads(unescape(said[1]))
    assert found['looked'] == len(pages) > 50
    assert not found['wide'], '\n'.join(map(str, found['wide'][:40]))
    assert not found['beside'], '\n'.join(map(str, found['beside'][:40]))


@pytest.mark.skipif(not SITE.exists(), reason='the documentation is not built: make docs')
def test_pages_load_what_they_use_and_name_what_is_pressed():
    for page in SITE.rglob('*.html'):
        html = page.read_text(encoding='utf-8')
        assert 'fontawesome.js' not in html and ('searchindex.js' in html) == (page.name == 'search.html'), page
        assert not re.search(r'<summary>\s*<span class="toctree-toggle"', html) and 'aria-label="Toggle' not in html, page


MADE_UP = """import sys
sys.path.insert(0, {site!r})
import conf
from conf import find_names, finish_page, repository_links
conf.cfg['git_url'] = {url!r}
def setup(app):
    app.connect('env-before-read-docs', find_names)
    app.connect('source-read', finish_page)
extensions, html_theme, nb_execution_mode = ['myst_nb'], 'sphinx_book_theme', 'off'
myst_enable_extensions = conf.myst_enable_extensions
html_theme_options = repository_links({url!r}, 'main')
"""


@pytest.mark.parametrize('url, there', [('', False), ('https://github.com/someone/alignsurvey', True)])
def test_pages_lead_to_their_notebooks_once_there_is_an_address(url, there, tmp_path):
    (tmp_path/'conf.py').write_text(MADE_UP.format(site=str(ROOT/'nbs/_site'), url=url), encoding='utf-8')
    (tmp_path/'index.md').write_text('# Start\n\n```{toctree}\ncourse/lesson\n```\n', encoding='utf-8')
    (tmp_path/'course').mkdir()
    cell = dict(cell_type='markdown', id='a', metadata={}, source='# A lesson')
    kernel = dict(name='python3', display_name='Python 3', language='python')
    lesson = dict(nbformat=4, nbformat_minor=5, metadata=dict(kernelspec=kernel), cells=[cell])
    (tmp_path/'course/lesson.ipynb').write_text(json.dumps(lesson), encoding='utf-8')
    built = [sys.executable, '-m', 'sphinx', '-q', str(tmp_path), str(tmp_path/'out')]
    subprocess.run(built, check=True, capture_output=True, timeout=120)
    html = (tmp_path/'out/course/lesson.html').read_text(encoding='utf-8')
    for link in ('https://colab.research.google.com/github/someone/alignsurvey/blob/main/nbs/course/lesson.ipynb',
            'https://mybinder.org/v2/gh/someone/alignsurvey/main?urlpath=lab/tree/nbs/course/lesson.ipynb',
            'https://github.com/someone/alignsurvey/edit/main/nbs/course/lesson.ipynb'):
        assert (link in html) == there, link
    assert (f'%pip install -q git+{url}\n' in re.sub('<[^>]*>', '', html)) == there


NOTEBOOKS = [p for p in sorted(ROOT.glob('nbs/**/*.ipynb')) if '.ipynb_checkpoints' not in p.parts]


def shown(path):
    "Code of each cell of a notebook and kinds of what it shows, with the first picture."
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        if cell['cell_type'] == 'code':
            data = [o.get('data', {}) for o in cell['outputs']]
            yield ''.join(cell['source']), next((d[k] for d in data for k in ('image/png', 'image/svg+xml') if k in d), None)


def test_each_picture_is_said_in_words_and_each_such_sentence_has_its_picture():
    wrong = [(str(p.relative_to(ROOT)), source[:60]) for p in NOTEBOOKS for source, drawn in shown(p)
        if (drawn is None) == bool(re.search('^#\\| fig-alt: .', source, re.M))]
    assert not wrong, '\n'.join(map(str, wrong))


@pytest.mark.parametrize('first', sorted(ROOT.glob('nbs/*/00_index.ipynb')), ids=lambda p: p.parent.name)
def test_a_chapters_picture_shows_its_modules_of_today(first):
    [drawn] = [drawn for source, drawn in shown(first) if 'picture(' in source]
    names = [re.search('aria-label="(.*?)"', svg)[1] for svg in (text_of(drawn), picture(first.parent.name).data)]
    assert names[0] == names[1], f'build.py run nbs/{first.parent.name}/00_index.ipynb'


def test_a_plot_that_is_added_to_a_page_stands_in_the_gallery(tmp_path):
    def cell(source):
        out = BytesIO()
        Image.new('RGB', (900, 300), 'orange').save(out, 'png')
        one = SimpleNamespace(cell_type='code', source=source, metadata={})
        show_as_told(one)
        shown = dict(output_type='display_data', metadata={}, data={'image/png': b64encode(out.getvalue()).decode()})
        return dict(vars(one), id=f'c{len(source)}', execution_count=None, outputs=[shown])

    (tmp_path/'metrics').mkdir()
    heading = dict(cell_type='markdown', id='a', metadata={}, source='# Distances')
    cells = [heading, cell('#| fig-alt: Bars.\nplot(x)'), cell('#| fig-alt: Secret.\n# solution\nplot(x)'), cell('plot(x)')]
    page = tmp_path/'metrics/01_distances.ipynb'
    page.write_text(json.dumps(dict(nbformat=4, nbformat_minor=5, metadata={}, cells=cells)), encoding='utf-8')
    gallery(tmp_path)
    text = (tmp_path/'gallery.md').read_text(encoding='utf-8')
    [(drawn, said, label)] = re.findall(r'!\[\]\((.*?)\) (.*?)\]\(#(.*?)\)', text)
    assert said == 'Bars.' and '## Metrics' in text and 'Secret' not in text
    assert Image.open(tmp_path/drawn).size == (480, 160)
    named = [c['metadata'].get('mystnb', {}).get('figure', {}).get('name') for c in json.loads(page.read_text(encoding='utf-8'))['cells']]
    assert named == [None, label, None, None]


@pytest.mark.skipif(not SITE.exists(), reason='the documentation is not built: make docs')
def test_each_plot_of_the_gallery_leads_to_its_cell():
    html = (SITE/'gallery.html').read_text(encoding='utf-8')
    links = re.findall(r'<a class="reference internal" href="([^"#]+)#(plot-[^"]+)"', html)
    plots = sum('solution' not in source and bool(drawn) and '#| echo' not in source
        for p in NOTEBOOKS if p.parent.name != 'nbs' for source, drawn in shown(p))
    assert len(links) == plots > 30
    for page, label in links:
        assert f'id="{label}"' in (SITE/page).read_text(encoding='utf-8'), (page, label)


def page_of(name):
    "A notebook as the site has it, before Sphinx reads it."
    from execnb.nbio import read_nb
    nb = read_nb(ROOT/'nbs'/f'{name}.ipynb')
    SitePages()(nb)
    return nb


def test_a_page_says_nothing_of_methods_of_a_private_class():
    shown = names_in(page_of('evaluation/17_conjoint'))
    assert shown and not [name for name in shown if any(part.startswith('_') for part in name.split('.'))]


def test_the_page_of_everything_names_everything():
    from alignsurvey import all as everything
    nb = page_of('all')
    text = '\n'.join(text_of(c['source']) for c in nb['cells'] if c['cell_type'] == 'markdown')
    assert not [name for name in everything.__all__ if f'`{name}`' not in text]
    assert not names_in(nb) & {'__getattr__', '__dir__'}
