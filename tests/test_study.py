"A study from one file: what was stopped ends with the same scores, and what is wrong is said in a sentence."
import os
import signal
import subprocess
import sys

import pytest

from alignsurvey.files.strict import FileFault
from alignsurvey.prediction.journal import Journal
from alignsurvey.study import Study

os.environ['TQDM_DISABLE'] = '1'

SMALL = '''
survey: gss2018
items: [natsci, natroad]
background: [age, degree]
sample: 16
predictors:
  zero-shot: {model: smollm2-135m, batch: 4}
baselines: [uniform, marginal]
primary: {predictor: zero-shot, versus: marginal, metric: brier, margin: 0.05}
n_boot: 100
'''

KILLED = '''
import os, signal, sys
from alignsurvey.prediction.journal import Journal
from alignsurvey.study import Study

add, left = Journal.add, [int(sys.argv[1])]

def last(self, *args):
    add(self, *args)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.add = last
Study.load('study.yaml').run()
'''


def study_in(folder, text=SMALL):
    folder.mkdir(exist_ok=True)
    (folder/'study.yaml').write_text(text)
    return Study.load(folder/'study.yaml')


@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='this system kills otherwise')
def test_a_study_that_was_killed_ends_with_the_same_scores(tmp_path, monkeypatch):
    whole = study_in(tmp_path/'whole')
    whole.run()
    killed = study_in(tmp_path/'killed')
    done = subprocess.run([sys.executable, '-c', KILLED, '1'], cwd=killed.folder, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not (killed.folder/'scores.csv').exists()

    asked, add = [], Journal.add

    def counted(self, answers, run):
        if len(asked) == 1:
            raise KeyboardInterrupt
        asked.append(len(answers))
        add(self, answers, run)

    monkeypatch.setattr(Journal, 'add', counted)
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    assert len(asked) == 1    # the second batch; the first was kept
    monkeypatch.setattr(Journal, 'add', lambda self, answers, run: (asked.append(len(answers)), add(self, answers, run)))
    killed.run()
    assert asked == [4]*(len(asked)) and len(asked) == len(killed.splits()['test'])//4 - 1
    assert (killed.folder/'scores.csv').read_bytes() == (whole.folder/'scores.csv').read_bytes()


@pytest.mark.parametrize('old, new, said', [
    ('sample:', 'samples:', 'study.yaml: samples is no key of a study: use one of survey'),
    ('{model: smollm2-135m, batch: 4}', '{batch: 4}', 'study.yaml: predictors.zero-shot.model is missing: give a model'),
    ('natroad', 'natroads', "study.yaml: items names 'natroads', which"),
    ('gss2018', 'gss2081', 'study.yaml: survey: gss2081: no such'),
    ('versus: marginal', 'versus: mrp', "study.yaml: primary.versus is 'mrp': use one of zero-shot, uniform, marginal"),
    ('sample: 16', 'sample: 16\nsample: 17', "'sample' stands twice"),
    ('n_boot: 100', 'n_boot: often', "study.yaml: n_boot is 'often': give a whole number"),
    ('batch: 4}', 'batch: 4, elicitation: guess}', 'study.yaml: predictors.zero-shot.elicitation is'),
    ('batch: 4}', 'batch: 4, training: {lrr: 1}}', "study.yaml: predictors.zero-shot.training: 'lrr' is no setting"),
])
def test_a_slip_in_the_file_is_one_sentence(tmp_path, old, new, said):
    assert old in SMALL
    with pytest.raises(FileFault) as fault:
        study_in(tmp_path, SMALL.replace(old, new))
    assert said in str(fault.value) and '\n' not in str(fault.value)
