"The documentation as a browser shows it: at 1,300 pixels nothing has to be scrolled sideways."
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from html import unescape
from pathlib import Path

import pytest

SITE = Path(__file__).resolve().parent.parent/'_docs'
BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
WIDTH = 1300
LOOKER = '''<!doctype html><pre id="found">waiting</pre><script>
const pages = PAGES, wide = [];
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
}
(async () => {
  for (const page of pages) await look(page);
  document.getElementById('found').textContent = JSON.stringify({looked: pages.length, wide});
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
def test_no_page_scrolls_sideways(site, tmp_path):
    address, pages = site
    ask = [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={tmp_path}', f'--window-size={WIDTH + 60},1000',
        '--virtual-time-budget=600000', '--dump-dom', address]
    done = subprocess.run(ask, capture_output=True, text=True, timeout=300, env={**os.environ, 'HOME': str(tmp_path)})
    said = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert said and said[1] != 'waiting', done.stderr[-500:]
    found = json.loads(unescape(said[1]))
    assert found['looked'] == len(pages) > 50
    assert not found['wide'], '\n'.join(map(str, found['wide'][:40]))


@pytest.mark.skipif(not SITE.exists(), reason='the documentation is not built: make docs')
def test_pages_load_what_they_use_and_name_what_is_pressed():
    for page in SITE.rglob('*.html'):
        html = page.read_text(encoding='utf-8')
        assert 'fontawesome.js' not in html and ('searchindex.js' in html) == (page.name == 'search.html'), page
        assert not re.search(r'<summary>\s*<span class="toctree-toggle"', html) and 'aria-label="Toggle' not in html, page


MADE_UP = """import sys
sys.path.insert(0, {site!r})
from conf import repository_links
extensions, html_theme, nb_execution_mode = ['myst_nb'], 'sphinx_book_theme', 'off'
html_theme_options = repository_links({url!r}, 'main')
"""


@pytest.mark.parametrize('url, there', [('', False), ('https://github.com/someone/alignsurvey', True)])
def test_pages_lead_to_their_notebooks_once_there_is_an_address(url, there, tmp_path):
    (tmp_path/'conf.py').write_text(MADE_UP.format(site=str(SITE.parent/'nbs/_site'), url=url), encoding='utf-8')
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
