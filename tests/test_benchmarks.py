"Every benchmark can be tried in a minute, and leaves nothing where it was tried."
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1]/'benchmarks'
SCRIPTS = sorted(str(p) for p in FOLDER.glob('*.py') if p.name != 'options.py')
HELP = '''
import contextlib, io, json, runpy, sys
sys.path.insert(0, sys.argv[1])
said = {}
for script in sys.argv[2:]:
    sys.argv = [script, '--help']
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        runpy.run_path(script, run_name='__main__')
    said[script] = out.getvalue()
print(json.dumps(said))
'''


def run(*asked):
    done = subprocess.run([sys.executable, *asked], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_benchmark_says_that_it_can_be_quick():
    said = json.loads(run('-c', HELP, FOLDER, *SCRIPTS).splitlines()[-1])
    assert len(said) > 30 and not [script for script, text in said.items() if '--quick' not in text]


@pytest.mark.parametrize('name', ['simulators', 'stacking'])
def test_a_quick_benchmark_keeps_no_file(name):
    def there():
        return {p.name: p.stat().st_mtime_ns for p in FOLDER.iterdir() if p.is_file()}
    before = there()
    assert run(FOLDER/f'{name}.py', '--quick')
    assert there() == before


@pytest.fixture
def script(monkeypatch):
    "Imports a benchmark."
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


def test_a_size_keeps_its_other_rows_and_validation_chooses_among_all(script, tmp_path):
    joined = script('learning_curve').with_chosen

    def row(predictor, test, validation=None, answers=250):
        size = dict(survey='s', answers=answers, items=6, seed=0, predictor=predictor)
        known = {} if validation is None else dict(validation_log_score=validation, steps=3)
        return size | dict(log_score=test) | known

    file = tmp_path/'rows.json'
    file.write_text(json.dumps(joined(file, [row('marginal', .9), row('tuned', .8, .7)])))
    found = joined(file, [row('tuned', .85, .75), row('offset', .95, .6), row('tuned', 1, 1, 90)])
    assert [(r['answers'], r['predictor'], r['log_score']) for r in found] == [
        (90, 'tuned', 1), (90, 'chosen by validation', 1), (250, 'marginal', .9),
        (250, 'tuned', .85), (250, 'offset', .95), (250, 'chosen by validation', .95)]
    assert found[-1]['method'] == 'offset' and 'steps' not in found[-1]


@pytest.mark.parametrize('rule, step, ended', [
    ((1, 0), 5, 10), ((2, 0), 15, 25), ((1, .5), 15, 25), ((2, .5), 15, 30), ((3, .5), 15, 35),
    ((None, 0), 40, 40)])
def test_where_a_run_stops(script, rule, step, ended):
    scores = [.9, .95, .85, .86, .87, .88, .855, .8]    # of steps 5, 10, …, 40
    curve = [dict(step=5*i, validation=score) for i, score in enumerate(scores, 1)]
    own, end = script('early_stopping').stopped(curve, *rule)
    assert (own['step'], end['step']) == (step, ended)
