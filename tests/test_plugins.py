"A task, a metric, a baseline of the user's on the command line, from Python files given with --plugins."
import importlib.metadata
import json

import pandas as pd
import pytest

TASK = '''
from alignsurvey.tasks import TASKS, choice_task

ASK = 'You sit on a panel on public money.\\n{question}\\n{options}\\n'
TASKS['priority'] = choice_task('priority', ask=ASK, noun='priorities')
'''
SCORES = '''
import numpy as np
from alignsurvey.metrics.catalogue import METRICS, record_metric
from alignsurvey.prediction.baselines import BASELINES

SHARE = .5    # read when the functions run, long after the file has


def short_of_one(y, q, positions):
    return 1 - _at(q, y)


def _at(q, y):
    return float(q[y])


def first(x, y, w, new, k):
    return np.r_[SHARE, np.full(k - 1, (1 - SHARE)/(k - 1))]


METRICS['short'] = record_metric('short', short_of_one, label='short of one', better='lower')
BASELINES['first'] = first
'''


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "Two files of a user's."
    path = tmp_path_factory.mktemp('plugins')
    (path/'task.py').write_text(TASK, encoding='utf-8')
    (path/'scores.py').write_text(SCORES, encoding='utf-8')
    return path


@pytest.fixture(scope='module')
def records(cli, folder):
    "Records of the user's task, made on the command line."
    asked = ('--items', 'natroad,natsci', '--variables', 'age,sex', '--respondents', 24)
    code, out, err = cli('--plugins', 'task.py', 'convert', 'gss2018', 'own.jsonl', '--task', 'priority', *asked, cwd=folder)
    assert code == 0, err
    return [json.loads(line) for line in (folder/'own.jsonl').read_text(encoding='utf-8').splitlines()]


def test_a_task_in_convert(records):
    assert {r['task'] for r in records} == {'priority'}
    assert all('You sit on a panel on public money.' in r['instruction'] for r in records)
    assert all('/priority/' in r['record_id'] for r in records)
    assert len({tuple(r['options']) for r in records}) == 2    # turned round by default, as a response's are


def write_lines(path, rows):
    path.write_text(''.join(json.dumps(r, ensure_ascii=False) + '\n' for r in rows), encoding='utf-8')


def test_a_metric_and_a_baseline_in_evaluate_and_report(cli, folder, records):
    "Two files at once; what they define is in the scores, the table and the page."
    learned = set(sorted({r['respondent_id'] for r in records})[::2])
    train, test = ([r for r in records if (r['respondent_id'] in learned) == side] for side in (True, False))
    rows = [dict(record_id=r['record_id'], value=0, probs=[.5, .3, .2], status='ok') for r in test]
    for name, part in ('train', train), ('test', test), ('p', rows):
        write_lines(folder/f'{name}.jsonl', part)
    own = ('--plugins', 'task.py', '--plugins', 'scores.py')
    told = ('--records', 'test.jsonl', '--train', 'train.jsonl', '--predictions', 'model=p.jsonl', '--n-boot', 100)
    code, out, err = cli(*own, 'evaluate', *told, cwd=folder)
    assert code == 0, err
    assert 'short of one ↓' in out
    scores = pd.read_csv(folder/'scores.csv')
    assert {'uniform', 'marginal', 'first', 'model'} <= set(scores.predictor)
    mine = scores[(scores.predictor == 'model') & (scores.metric == 'short') & scores.versus.isna()]
    missed = [1 - row['probs'][r['answer_index']] for row, r in zip(rows, test)]
    assert mine[mine.question_id.isna()].value.item() == pytest.approx(sum(missed)/len(missed))
    code, out, err = cli(*own, 'report', '--scores', 'scores.csv', '--records', 'test.jsonl', '--models', 'model', cwd=folder)
    assert code == 0, err
    page = (folder/'report.html').read_text(encoding='utf-8')
    assert f'{len(test):,} priorities of' in page and 'short of one ↓' in page and 'first' in page


@pytest.mark.parametrize('text, said', [
    (None, 'mine.py: no such file'),
    ('answer = 42\n\nprint(question)\n', "mine.py: line 3: NameError: name 'question' is not defined"),
    ('answer = (\n', 'mine.py: line 1: SyntaxError'),
    ('from alignsurvey.metrics.catalogue import record_metric\nrecord_metric("mine", len, better="low")\n', "mine.py: line 2: ValueError: metric 'mine': better is 'low'"),
])
def test_a_mistake_is_one_sentence_with_file_and_line(cli, tmp_path, text, said):
    if text is not None:
        (tmp_path/'mine.py').write_text(text)
    code, out, err = cli('--plugins', 'mine.py', 'status', 'run.sqlite', cwd=tmp_path)
    assert code == 2, err
    assert err.startswith('alignsurvey: ') and said in err and 'Traceback' not in err and err.count('\n') == 1


def test_without_the_file_the_task_is_not_known(cli, tmp_path):
    code, out, err = cli('convert', 'gss2018', 'o.jsonl', '--task', 'priority', cwd=tmp_path)
    assert code == 2 and "task 'priority' at level 'individual' is not known: use response (individual)" in err


def test_the_version(cli):
    code, out, err = cli('--version')
    assert code == 0 and out.strip() == importlib.metadata.version('alignsurvey')
