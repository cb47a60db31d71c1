"A study from one file: what was stopped ends with the same scores, and what is wrong is said in a sentence."
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alignsurvey.files.strict import FileFault
from alignsurvey.prediction.cost import run_status
from alignsurvey.study import Study

os.environ['TQDM_DISABLE'] = '1'

SMALL = '''
survey: gss2018
items: [natsci, natroad]
background: [age]
sample: 60
predictors:
  zero-shot: {model: smollm2-135m, batch: 2}
baselines: [uniform, marginal]
primary: {predictor: zero-shot, versus: marginal, metric: brier, margin: 0.05}
n_boot: 100
'''

KILLED = '''
import os, signal
from alignsurvey.prediction.journal import Journal
from alignsurvey.study import Study

add = Journal.add

def last(self, answers, run):
    add(self, dict(list(answers.items())[:5]), run)
    os.kill(os.getpid(), signal.SIGKILL)

Journal.add = last
Study.load('study.yaml').run()
'''


def study_in(folder, text=SMALL):
    folder.mkdir(exist_ok=True)
    (folder/'study.yaml').write_text(text)
    return Study.load(folder/'study.yaml')


@pytest.fixture(scope='module')
def url():
    "Address of a stub of a server, in a process of its own."
    stub = Path(__file__).with_name('stub_server.py')
    process = subprocess.Popen([sys.executable, stub, '{}'], stdout=subprocess.PIPE, text=True)
    yield f'http://127.0.0.1:{int(process.stdout.readline())}/v1'
    process.kill()
    process.wait()


@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='this system kills otherwise')
def test_a_study_that_was_killed_ends_with_the_same_scores(tmp_path, url):
    asked = SMALL.replace('smollm2-135m, batch: 2', f"stub, server: '{url}'")
    whole = study_in(tmp_path/'whole', asked)
    whole.run()
    killed, kept = study_in(tmp_path/'killed', asked), [0]
    for _ in range(2):    # each time after five answers, or the first bundle of fewer
        done = subprocess.run([sys.executable, '-c', KILLED], cwd=killed.folder, capture_output=True)
        assert done.returncode == -signal.SIGKILL
        assert not (killed.folder/'scores.csv').exists()
        kept.append(run_status(killed.folder/'answers/zero-shot.sqlite')[-1]['answered'])
    assert kept == sorted(set(kept)) and kept[-1] < len(killed.splits()['test'])
    killed.run()
    assert (killed.folder/'scores.csv').read_bytes() == (whole.folder/'scores.csv').read_bytes()


@pytest.mark.parametrize('old, new, said', [
    ('sample:', 'samples:', 'study.yaml: samples is no key of a study: use one of survey'),
    ('{model: smollm2-135m, batch: 2}', '{batch: 2}', 'study.yaml: predictors.zero-shot.model is missing: give a model'),
    ('natroad', 'natroads', "study.yaml: items names 'natroads', which"),
    ('gss2018', 'gss2081', 'study.yaml: survey: gss2081: no such'),
    ('versus: marginal', 'versus: mrp', "study.yaml: primary.versus is 'mrp': use one of zero-shot, uniform, marginal"),
    ('sample: 60', 'sample: 60\nsample: 17', "'sample' stands twice"),
    ('n_boot: 100', 'n_boot: often', "study.yaml: n_boot is 'often': give a whole number"),
    ('batch: 2}', 'batch: 2, elicitation: guess}', 'study.yaml: predictors.zero-shot.elicitation is'),
    ('batch: 2}', 'batch: 2, training: {lrr: 1}}', "study.yaml: predictors.zero-shot.training: 'lrr' is no setting"),
])
def test_a_slip_in_the_file_is_one_sentence(tmp_path, old, new, said):
    assert old in SMALL
    with pytest.raises(FileFault) as fault:
        study_in(tmp_path, SMALL.replace(old, new))
    assert said in str(fault.value) and '\n' not in str(fault.value)
