"Widgets of the course as a browser runs them: each changes what it should, and fetches nothing."
import json
import os
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pandas as pd
import pytest

from alignsurvey.metrics.distances import js_divergence, total_variation, wasserstein
from alignsurvey.teaching import course_run, read_lesson
from alignsurvey.teaching.widgets import Widget, distribution_pair, item_explorer, noise_player, prompt_explorer, trie_viewer

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


def test_drawing_again_comes_to_the_noise_floor_and_more_people_lower_it(tmp_path):
    look = '''
const seen = () => [distances.length, asked.textContent, distances.reduce((a, b) => a + b, 0)/distances.length];
for (let i = 0; i < 999; i++) again.click();
found.push(seen());
size.value = 2;
size.dispatchEvent(new Event('input'));
for (let i = 0; i < 999; i++) again.click();
found.push(seen());
'''
    p = np.array([.5, .3, .2])
    few, many = driven(noise_player(['a', 'b', 'c'], p), look, tmp_path)
    for (times, n, mean), people in zip((few, many), (100, 400)):
        floor = np.sqrt(2*p*(1 - p)/np.pi/people).sum()/2    # of normal errors
        assert (times, n) == (1000, str(people)) and mean == pytest.approx(floor, rel=.05)


def test_another_item_shows_its_wording_and_whose_shares(tmp_path):
    def item(name, first):
        shares = dict(people=[[first, first - .1, first + .1], [1 - first, .9 - first, 1 - first + .1]], model=[[.2], [.8]])
        return dict(item=name, question=f'What of {name}?', options=['yes', 'no'], shares=shares)

    look = '''
const seen = () => [told.textContent, [...told.querySelectorAll('.bar')].map(b => b.style.width)];
found.push(seen());
menu.value = 1;
menu.dispatchEvent(new Event('change'));
found.push(seen());
'''
    before, after = driven(item_explorer([item('tea', .25), item('milk', .75)]), look, tmp_path)
    assert before[0].startswith('What of tea?peopleyes: 0.250 [0.150, 0.350]') and before[1] == ['25%', '75%', '20%', '80%']
    assert after[0].startswith('What of milk?') and after[1] == ['75%', '25%', '20%', '80%']


def test_the_items_of_a_lesson_show_what_its_respondents_said(tmp_path):
    "The widget as it is stored in the lesson, for a page without a kernel."
    cells = read_lesson(6)['cells']
    [frame] = [''.join(o['data']['text/html']) for c in cells for o in c.get('outputs', []) if '<iframe' in str(o.get('data', {}))]
    stored = Widget('', unescape(re.search('srcdoc="(.*?)"', frame, re.S)[1]), 0)
    look = """
for (const option of [...menu.options]) {
  menu.value = option.value;
  menu.dispatchEvent(new Event('change'));
  found.push([option.textContent, told.textContent, document.documentElement.scrollHeight]);
}
"""
    found = driven(stored, look, tmp_path)
    records, _ = course_run('test')
    asked = dict(zip(records['question_id'], records['question']))
    answers = pd.Series(records['answer']).groupby(pd.Series(records['question_id'])).value_counts(normalize=True)
    assert [name for name, *_ in found] == list(asked)
    for name, said, tall in found:
        assert said.startswith(asked[name]) and tall <= int(re.search('height="(.*?)"', frame)[1]) + 1, tall
        for option, share in answers[name].items():
            assert f'{option}: {share:.3f} [' in said.split('model')[0]


def test_fewer_prompts_share_less(tmp_path):
    look = '''
const seen = () => [told.textContent, [...document.querySelectorAll('.node')].map(e => e.firstChild.textContent)];
found.push(seen());
size.value = 1;
size.dispatchEvent(new Event('input'));
found.push(seen());
'''
    many, one = driven(trie_viewer(['You are old. Tea?', 'You are old. Milk?', 'You are young. Tea?']), look, tmp_path)
    assert many[0] == '12 words one by one, 7 shared: 1.7 times fewer'
    assert many[1] == ['You are  ×3', 'old.  ×2', 'Tea?', 'Milk?', 'young. Tea?']
    assert one == ['4 words one by one, 4 shared: 1.0 times fewer', ['You are old. Tea?']]
