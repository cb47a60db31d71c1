"""A study killed at random moments, and run on each time: are its scores those of a study that ran through?

    python benchmarks/study_kills.py [--quick] [--kills 10]

Two predictors, one of them tuned, and four specifications. Each start is a fork, so
that a kill hits the study and not its imports. Where a start ends before its kill, the study begins anew. Writes
study_kills.json beside this file: after each kill what was there, and whether the tables are equal to the byte."""
import os
os.environ |= dict(OMP_NUM_THREADS='1', TQDM_DISABLE='1')    # a forked process has no threads but its own
import contextlib
import json
import random
import shutil
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

import alignsurvey.study.study    # what a start would import, so that it is there before the fork
import alignsurvey.training.trainer
from alignsurvey.study import Study
from options import Options

STUDY = '''
survey: gss2018
items: [natsci, natroad]
background: [age]
sample: {sample}
predictors:
  zero-shot: {{model: smollm2-135m, batch: 4}}
  tuned: {{model: smollm2-135m, batch: 4, training: {{loss: option, lr: 0.001, batch: 8, micro: 4, epochs: 1}}}}
baselines: [uniform, marginal]
primary: {{predictor: tuned, versus: marginal, metric: brier, margin: 0.05}}
vary: {{wording: [benchmark, no persona], labels: [letters, numbers]}}
n_boot: 200
'''
TABLES = ('scores.csv', 'specifications.csv')


def new(folder, sample):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder/'study.yaml').write_text(STUDY.format(sample=sample), encoding='utf-8')


def start(folder):
    "Run a study in a process of its own."
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with open(os.devnull, 'w', encoding='utf-8') as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            Study.load(folder/'study.yaml').run()
        code = 0
    finally:
        os._exit(code)


def ended(child):
    "How a start ended; None while it runs."
    pid, status = os.waitpid(child, os.WNOHANG)
    return None if pid == 0 else os.waitstatus_to_exitcode(status)


def there(folder):
    "What a study has by now."
    found = {}
    for journal in sorted((folder/'answers').glob('*.sqlite')):
        try:
            with contextlib.closing(sqlite3.connect(journal)) as db:
                found[journal.stem] = db.execute('select count(*) from answers').fetchone()[0]
        except sqlite3.OperationalError:    # killed before its table was made
            found[journal.stem] = 0
    return dict(answers=found, adapter=(folder/'adapters/tuned/sft.json').exists(), scores=(folder/'scores.csv').exists())


def killed(folder, moment):
    "Start a study and kill it after some seconds; False where it had ended by then."
    child, until = start(folder), time.perf_counter() + moment
    while time.perf_counter() < until:
        code = ended(child)
        if code is not None:
            assert code == 0, f'a start failed with {code}'
            return False
        time.sleep(.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def main(kills, sample, to, seed=0):
    rng, moments = random.Random(seed), []
    with tempfile.TemporaryDirectory() as folder:
        whole, broken = Path(folder)/'whole', Path(folder)/'broken'
        new(whole, sample)
        begun = time.perf_counter()
        assert os.waitpid(start(whole), 0)[1] == 0
        seconds = time.perf_counter() - begun
        new(broken, sample)
        again = 0
        while len(moments) < kills:
            moment = rng.uniform(0, seconds)
            if killed(broken, moment):
                moments.append(dict(after=round(moment, 1), **there(broken)))
            else:
                new(broken, sample)
                again += 1
        assert os.waitpid(start(broken), 0)[1] == 0
        equal = {name: (whole/name).read_bytes() == (broken/name).read_bytes() for name in TABLES}
    out = dict(sample=sample, whole_seconds=round(seconds, 1), begun_anew=again, kills=moments, equal=equal)
    to.write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')
    print(json.dumps(out, indent=1))
    assert all(equal.values())


if __name__ == '__main__':
    parser = Options(__file__, __doc__)
    parser.size('--kills', 10, quick=1)
    parser.size('--sample', 60, quick=8, help='respondents')
    given = parser.parse_args()
    main(given.kills, given.sample, given.out)
