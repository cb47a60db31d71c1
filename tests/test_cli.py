"The command line as a user meets it: steps in a row, a kill in the middle, wrong input, start-up time."
import json, os, resource, signal, sqlite3, subprocess, sys, time
import pandas as pd, pyreadstat, pytest

ITEMS = ('--items', 'natroad,natsci', '--variables', 'age,sex', '--answer-form', 'text')


@pytest.fixture(scope='module')
def study(cli, tmp_path_factory):
    "Records of a few respondents, split."
    folder = tmp_path_factory.mktemp('study')
    for step in (['convert', 'gss2018', 'gss.jsonl', *ITEMS, '--respondents', 16], ['split', 'gss.jsonl', 'splits', '--test', .6]):
        code, _, err = cli(*step, cwd=folder)
        assert code == 0, err
    return folder


def test_kill_and_resume(cli, study):
    "What was answered before kill -9 is not asked again, and the end is the same as without it."
    ask = ['predict', 'splits/test.jsonl', '--batch', '2']
    run = subprocess.Popen([sys.executable, '-m', 'alignsurvey', *ask, 'killed.jsonl'], cwd=study, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    count = lambda: dict(sqlite3.connect(study/'killed.sqlite').execute('select key, answer from answers')) if (study/'killed.sqlite').exists() else {}
    until = time.time() + 120
    while time.time() < until and run.poll() is None:
        try:
            if len(count()) >= 4: break
        except sqlite3.OperationalError: pass
        time.sleep(.05)
    run.kill()
    run.wait()
    before = count()
    assert 4 <= len(before) < 18 and not (study/'killed.jsonl').exists()
    for out in 'killed.jsonl', 'whole.jsonl': assert cli(*ask, out, cwd=study)[0] == 0
    after = count()
    assert {k: after[k] for k in before} == before, 'answers from before the kill were asked again'
    assert len(after) == len((study/'splits'/'test.jsonl').read_text().splitlines())
    same = ['record_id', 'value', 'probs', 'coverage', 'status']
    killed, whole = (pd.DataFrame(json.loads(l) for l in (study/f).read_text().splitlines()) for f in ('killed.jsonl', 'whole.jsonl'))
    assert killed[same].to_dict('records') == whole[same].to_dict('records')
    score = ['evaluate', '--records', 'splits/test.jsonl', '--train', 'splits/train.jsonl', '--n-boot', 200]
    for name in 'killed', 'whole': assert cli(*score, '--predictions', f'model={name}.jsonl', '--out', f'{name}.csv', cwd=study)[0] == 0
    assert (study/'killed.csv').read_bytes() == (study/'whole.csv').read_bytes()
    code, out, err = cli('report', '--scores', 'whole.csv', '--records', 'splits/test.jsonl', '--models', 'model', '--survey', 'gss2018', cwd=study)
    assert code == 0, err
    assert 'A simulated respondent is not a person' in (study/'report.html').read_text()


def test_demo_quick(cli, tmp_path):
    "The whole job; its file alone, in another folder, gives the same scores to the last digit."
    (tmp_path/'sitecustomize.py').write_text("import sys; sys.modules['IPython'] = None\n")    # a command line needs no notebook
    demo, again = tmp_path/'runs'/'demo', tmp_path/'again'
    code, out, err = cli('demo', '--quick', cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert code == 0 and out.strip().endswith('report.html'), err
    again.mkdir()
    (again/'study.yaml').write_bytes((demo/'study.yaml').read_bytes())
    code, _, err = cli('run', 'study.yaml', cwd=again, PYTHONPATH=str(tmp_path))
    assert code == 0, err
    first, second = (folder/'scores.csv' for folder in (demo, again))
    assert first.read_bytes() == second.read_bytes()
    shown = set(pd.read_csv(first).predictor)
    assert {'tuned', 'zero-shot', 'zero-shot, temperature', 'uniform', 'majority', 'marginal', 'logistic', 'noise floor'} <= shown


def wrong(folder):
    "Wrong input: what is called, and what the sentence must hold."
    head = 'id,q,w\n'
    book = 'id: x\nrespondent_id: id\nweight: w\nitems: {q: {scale: ordinal, options: {1: no, 2: yes}}}\n'
    for name, data, text in [('column', head + '1,1,1\n', book + 'stratum: region\n'), ('code', head + '1,1,1\n2,5,1\n', book), ('weight', head + '1,1,-3\n', book), ('empty', head, book)]:
        (folder/name).mkdir(); (folder/name/'x.csv').write_text(data); (folder/name/'codebook.yaml').write_text(text)
    (folder/'taken.jsonl').write_text('precious')
    (folder/'x.sav').write_bytes(b'PK not a survey'*9)
    pyreadstat.write_sav(pd.DataFrame({'id': range(500), 'q': [1, 2]*250}), folder/'whole.sav', variable_value_labels={'q': {1: 'no', 2: 'yes'}})
    (folder/'cut.sav').write_bytes((folder/'whole.sav').read_bytes()[:-60])
    for name, data, text in [('text', head + '1,1,much\n', book), ('twice', head + '1,1,1\n', book.replace('2: yes', '2: no'))]:
        (folder/name).mkdir(); (folder/name/'x.csv').write_text(data); (folder/name/'codebook.yaml').write_text(text)
    yield ['convert', 'x.sav', 'o.jsonl'], ['x.sav']
    yield ['convert', 'cut.sav', 'o.jsonl'], ['cut.sav']
    yield ['convert', 'text/x.csv', 'o.jsonl'], ['x.csv', 'row 2', "'w'", "'much'", 'not a number']
    yield ['convert', 'twice/x.csv', 'o.jsonl'], ['codebook.yaml', "'q'", "share the label 'no'"]
    yield ['convert', 'whole.sav', 'o.jsonl', '--codebook', 'column/codebook.yaml'], ['whole.sav', "no column 'w'"]
    yield ['convert', 'gss2018', 'taken.jsonl/o.jsonl'], ["can't be written to", 'choose another folder']
    (folder/'bare').mkdir(); (folder/'bare'/'config.json').write_text('{}')
    yield ['convert', 'nowhere.csv', 'o.jsonl'], ['nowhere.csv', 'no such file']
    yield ['convert', 'column/x.csv', 'o.jsonl'], ['x.csv', "'region'", 'codebook']
    yield ['convert', 'code/x.csv', 'o.jsonl'], ['x.csv', 'row 3', "'q'", "'5'", 'add it to options or missing']
    yield ['convert', 'weight/x.csv', 'o.jsonl'], ['x.csv', 'row 2', "'w'", 'negative weight']
    yield ['convert', 'empty/x.csv', 'o.jsonl'], ['x.csv', 'no respondents']
    yield ['convert', 'gss2018', 'taken.jsonl'], ['taken.jsonl', 'exists already']
    yield ['convert', 'gss2018', 'o.jsonl', '--items', 'natmoon'], ["'natmoon'", 'natroad']
    yield ['predict', 'good.jsonl', 'o.jsonl', '--model', 'bare'], ['bare', 'no weights', 'safetensors']
    yield ['predict', 'good.jsonl', 'o.jsonl', '--model', './nowhere'], ['nowhere', 'no such model folder']
    yield ['predict', 'nowhere.jsonl', 'o.jsonl'], ['nowhere.jsonl', 'no such file']
    yield ['predict', 'good.jsonl', 'o.csv'], ['o.csv', "can't write .csv", 'use .jsonl or .parquet']
    yield ['train', 'good.jsonl', 'a', '--loss', 'rank'], ["'rank'", 'answer, option']
    yield ['split', 'good.jsonl', 's', '--test', '2'], ['test is 2.0', 'between 0 and 1']
    yield ['evaluate', '--records', 'good.jsonl', '--predictions', 'taken.jsonl'], ['taken.jsonl', 'line 1', 'not valid JSON']


def test_wrong_input(cli, study, tmp_path):
    (tmp_path/'good.jsonl').write_text((study/'splits'/'test.jsonl').read_text())
    for command, parts in wrong(tmp_path):
        code, out, err = cli(*command, cwd=tmp_path)
        assert code == 2, (command, code, err)
        lines = [l for l in err.splitlines() if l.strip()]
        said = lines[-1]
        assert said.startswith(f'alignsurvey {command[0]}: ') and 'Traceback' not in err, err
        for part in parts: assert part in said, (command, said)
    assert (tmp_path/'taken.jsonl').read_text() == 'precious' and not (tmp_path/'o.jsonl').exists()


def test_it_is_said_where_more_respondents_are_asked_for_than_there_are(here, tmp_path):
    ask = 'convert', 'gss2018', '--items', 'natsci', '--respondents'
    code, _, err = here(*ask, 10**6, tmp_path/'all.jsonl')
    assert code == 0 and err.count('fewer than the 1,000,000 asked for: all are taken') == 1, err
    assert 'asked for' not in here(*ask, 3, tmp_path/'few.jsonl')[2]
    assert '--respondents is -1: give a whole number, 1 or more' in here(*ask, -1, tmp_path/'none.jsonl')[2]


def test_train_and_test_must_not_share_respondents(cli, study):
    "A respondent on both sides is refused by name."
    import shutil
    shutil.copy(study/'gss.jsonl', study/'leaky.jsonl')
    predictions = study/'p.jsonl'
    predictions.write_text(''.join(json.dumps(dict(record_id=json.loads(l)['record_id'], value=0, probs=[.4, .3, .3], status='ok')) + '\n' for l in (study/'splits'/'test.jsonl').read_text().splitlines()))
    code, _, err = cli('evaluate', '--records', 'splits/test.jsonl', '--predictions', 'p.jsonl', '--train', 'leaky.jsonl', '--out', 'leak.csv', cwd=study)
    assert code == 2 and "respondent 'gss2018/" in err and 'in both train and test' in err, err


def seconds_of_processor(code):
    "The least of three runs of Python, and what the last one said."
    resource, used = pytest.importorskip('resource'), []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(used), out


@pytest.mark.timing
@pytest.mark.parametrize('line, times', [
    ('import alignsurvey.surveys.survey', 3),
    ("import runpy, sys; sys.argv = ['alignsurvey', '--help']; runpy.run_module('alignsurvey', run_name='__main__')", 1)])
def test_start_up(line, times):
    "Quick to import and to ask for help, without torch: measured by what pandas alone takes, on any machine."
    pandas, _ = seconds_of_processor('import pandas')
    own, out = seconds_of_processor(f'import sys, atexit; atexit.register(lambda: print("torch" in sys.modules)); {line}')
    assert out.strip().endswith('False') and own <= times*pandas, (own, pandas)
