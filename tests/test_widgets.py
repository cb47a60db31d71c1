"Widgets of the course as a browser runs them: each changes what it should, and fetches nothing."
import json
import os
import re
import shutil
import subprocess
from html import unescape

import pytest

from alignsurvey.metrics.distances import js_divergence, total_variation, wasserstein
from alignsurvey.teaching.widgets import distribution_pair, prompt_explorer

BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
pytestmark = pytest.mark.skipif(not BROWSER, reason='no Chromium')


def driven(widget, script, folder):
    "What a script finds in a widget's page; it is appended, and fills the array `found`."
    end = '<pre id="found"></pre><script>const found = [];\n' + script
    end += "\ndocument.getElementById('found').textContent = JSON.stringify(found);</script></body>"
    page = folder/'page.html'
    page.write_text(widget.page.replace('</body>', end), encoding='utf-8')
    ask = [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={folder}/profile',
        '--dump-dom', page.as_uri()]
    done = subprocess.run(ask, capture_output=True, text=True, timeout=120, env={**os.environ, 'HOME': str(folder)})
    said = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert said and said[1], done.stderr[-500:]
    return json.loads(unescape(said[1]))


def test_another_choice_shows_another_prompt_and_its_probabilities(tmp_path):
    def asked(form, first):
        return dict(choices=dict(form=form), prompt=f'<b>{form}</b>', options=['yes', 'no'], probs=[first, 1 - first])

    look = '''
const menu = document.querySelector('select[name=form]');
const seen = () => [document.querySelector('pre').textContent,
  [...document.querySelectorAll('.bar')].map(b => b.style.width), bars.textContent];
found.push(seen());
menu.value = 'digits';
menu.dispatchEvent(new Event('change'));
found.push(seen());
'''
    before, after = driven(prompt_explorer([asked('letters', .75), asked('digits', .25)]), look, tmp_path)
    assert before == ['<b>letters</b>', ['75%', '25%'], 'yes: 0.750no: 0.250']
    assert after == ['<b>digits</b>', ['25%', '75%'], 'yes: 0.250no: 0.750']


def test_dragging_a_share_changes_each_distance_as_the_library_has_it(tmp_path):
    look = '''
const seen = () => [...said.children].map(e => e.textContent).filter(t => t).map(t => Number(t.split(': ')[1]));
found.push([shares('people'), shares('model'), seen()]);
sliders.model[0].value = .95;
sliders.model[0].dispatchEvent(new Event('input'));
found.push([shares('people'), shares('model'), seen()]);
'''
    widget = distribution_pair(['a', 'b', 'c', 'd'], [.4, .3, .2, .1], [.05, 0, .5, .45])
    before, after = driven(widget, look, tmp_path)
    assert before[2] != after[2]
    for people, model, seen in before, after:
        assert sum(model) == pytest.approx(1)
        want = total_variation(people, model), wasserstein(people, model, range(4)), js_divergence(people, model)
        assert seen == pytest.approx(want, abs=6e-4)
