"A report in a real browser: whatever a survey, a model or a user wrote, nothing of it runs and nothing is fetched."
import functools
import http.server
import os
import re
import shutil
import subprocess
import threading

import numpy as np
import pandas as pd
import pytest
import yaml

from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.records.reading import make_records
from alignsurvey.reporting.page import report
from alignsurvey.reporting.study_report import full_report
from alignsurvey.surveys.survey import Survey

BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
pytestmark = pytest.mark.skipif(not BROWSER, reason='no Chromium')

# each would ask the server for /ran or /fetched, where it is read as markup
PAYLOADS = ['<script>fetch("/ran")</script>', '<img src=/fetched onerror=fetch("/ran")>',
    '"><svg onload=fetch("/ran")>', "' onmouseover='fetch(`/ran`)' autofocus onfocus='fetch(`/ran`)' x='",
    '<iframe src="/fetched"></iframe>', '</style></title></textarea><script src="/fetched"></script>',
    '<link rel=stylesheet href=/fetched>', '<style>@import "/fetched";</style>', '<body onload=fetch("/ran")>',
    '<meta http-equiv=refresh content="0;url=/fetched">', '{{7*7}}${7*7}<%= 7*7 %>', '<base href=/fetched/>',
    '--><script>fetch("/ran")</script><!--', ']]><script>fetch("/ran")</script>', '&lt;script&gt;fetch("/ran")&lt;/script&gt;']


@pytest.fixture
def asked(tmp_path):
    "A folder that is served, and the paths that a browser asked for."
    paths = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            super().do_GET()

        def log_message(self, *args):
            pass

    folder = tmp_path/'served'
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f'http://127.0.0.1:{server.server_port}', paths
    server.shutdown()


def opened(address, home):
    "The page as the browser has it, once its scripts had their time."
    done = subprocess.run([BROWSER, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={home}', '--virtual-time-budget=5000',
        '--dump-dom', address], capture_output=True, text=True, timeout=120, env={**os.environ, 'HOME': str(home)})
    return done.stdout


def of_the_page(paths, page):
    "Paths that were asked for besides the page and its icon."
    return [p for p in paths if p not in (f'/{page}', '/favicon.ico')]


def test_the_payloads_work_where_nothing_is_escaped(asked, tmp_path):
    folder, address, paths = asked
    (folder/'raw.html').write_text('<!doctype html><p>' + PAYLOADS[0] + PAYLOADS[1])
    opened(f'{address}/raw.html', tmp_path/'home')
    assert {'/ran', '/fetched'} <= set(of_the_page(paths, 'raw.html'))


def hostile_records(n=80, items=4):
    "Records in which every text is a payload."
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        for j in range(items):
            options = [f'{k} {PAYLOADS[(j + k) % len(PAYLOADS)]}' for k in range(3)]
            y = int(rng.integers(3))
            rows.append(dict(task='response', instruction=f'{j} {PAYLOADS[(j + 5) % len(PAYLOADS)]}', question=f'{j} {PAYLOADS[(j + 9) % len(PAYLOADS)]}',
                output=options[y], options=options, answer_index=y, answer_form='text', scale='ordinal', positions=[0., 1., 2.], source=PAYLOADS[0],
                respondent_id=f'p{i} {PAYLOADS[i % len(PAYLOADS)]}', question_id=f'q{j} {PAYLOADS[j]}',
                groups={PAYLOADS[2]: PAYLOADS[3 + i % 2], 'age': f'{i % 2} {PAYLOADS[5]}'}))
    return make_records(rows)


def hostile_survey(folder):
    "A survey whose description is made of payloads."
    about = {k: f'{k} {p}' for k, p in zip(('title', 'citation', 'terms', 'notes', 'source', 'country'), PAYLOADS)}
    items = {'q0': dict(question={'en': PAYLOADS[1]}, options={0: 'no', 1: 'yes'}, scale='nominal')}
    spec = dict(about, id=PAYLOADS[0], year=2020, items=items)
    (folder/'codebook.yaml').write_text(yaml.safe_dump(spec), encoding='utf-8')
    (folder/'data.csv').write_text('id,q0\na,0\nb,1\n', encoding='utf-8')
    return Survey.load(folder/'data.csv', codebook=folder/'codebook.yaml')


def predicted(records):
    rng = np.random.default_rng(1)
    return pd.DataFrame(dict(record_id=records['record_id'][:], probs=rng.dirichlet([3]*3, len(records)).tolist(), status='ok', elicitation='score', text=PAYLOADS[1]))


def test_nothing_runs_in_a_report(asked, tmp_path):
    folder, address, paths = asked
    records = hostile_records()
    name = f'model {PAYLOADS[0]}'
    scores = evaluate(records, {name: predicted(records)}, n_boot=100)
    report(scores, folder/'report.html', records=records, models=[name], survey=hostile_survey(tmp_path), card={PAYLOADS[1]: PAYLOADS[2]}, title=PAYLOADS[5])
    page = opened(f'{address}/report.html', tmp_path/'home')
    assert 'fetch(' in page and not re.search(r'<(script|iframe|base|link|meta http)', re.sub(r'<meta charset[^>]*>', '', page))
    assert of_the_page(paths, 'report.html') == []


def test_nothing_runs_in_a_full_report(asked, tmp_path):
    folder, address, paths = asked
    records = hostile_records()
    name = f'model {PAYLOADS[0]}'
    full_report(records, {name: predicted(records)}, folder/'full', survey=hostile_survey(tmp_path), card={PAYLOADS[1]: PAYLOADS[2]}, title=PAYLOADS[5], n_boot=100)
    page = opened(f'{address}/full/report.html', tmp_path/'home')
    assert 'fetch(' in page
    assert of_the_page(paths, 'full/report.html') == []
