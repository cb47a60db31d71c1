"Where a process is started anew and not copied, as on Windows and macOS: nothing that the library needs stays behind."
import errno
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
import pyreadstat
import pytest

from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.files import apart
from alignsurvey.files.tables import read_table
from alignsurvey.models import embedded
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.server import connect
from alignsurvey.records.reading import read_records, write_records
from alignsurvey.tasks.registry import Survey
from test_server import prompts, stub

SPAWN = multiprocessing.get_context('spawn')
ROOT = Path(__file__).resolve().parent.parent


def ask(folder, url):
    "One of two processes that ask the same of a server."
    records = read_records(folder/'records.jsonl')
    return predict(connect('stub', base_url=url, concurrency=4), records, journal=folder/'run.sqlite').probs.tolist()


def read(path):
    "A frame, the process that reads for this one, and what a crash of it says."
    frame, _ = read_table(path)
    try:
        apart.run_apart('os:abort')
    except ValueError as e:
        return frame, os.getpid(), str(e)


def scored(survey, records, predictions):
    return evaluate(records, predictions, baselines=False, n_boot=100), list(survey.codebook.items)


@pytest.fixture(scope='module')
def pool():
    with ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        yield pool


def test_two_processes_ask_into_one_journal_and_no_prompt_twice(pool, tmp_path):
    write_records(prompts(60), tmp_path/'records.jsonl')
    with stub(latency=.05) as (url, saw):
        first, second = [pool.submit(ask, tmp_path, url) for _ in range(2)]
        assert first.result(120) == second.result(120)
        assert {n for said, n in saw()['served'].items() if said.startswith('You are')} == {1}


def test_each_process_has_a_reader_of_its_own(pool, tmp_path):
    want = pd.DataFrame(dict(id=range(50), q=[1., 2.]*25))
    pyreadstat.write_sav(want, tmp_path/'x.sav', variable_value_labels={'q': {1: 'no', 2: 'yes'}})
    found = [f.result(120) for f in [pool.submit(read, tmp_path/'x.sav') for _ in range(4)]]
    for frame, process, said in found:
        assert frame.equals(found[0][0]) and len(frame) == 50
        assert process != os.getpid() and 'its reader crashed' in said


def test_a_survey_records_and_predictions_reach_a_process(pool):
    survey = Survey.load('gss2018')
    records = survey.records('response', items=['natroad'], variables=['age', 'sex'], respondents=40, verbose=False)
    said = pd.DataFrame(dict(record_id=records['record_id'], probs=[[.5, .3, .2]]*len(records), value=0, status='ok'))
    scores, items = pool.submit(scored, survey, records, dict(model=said)).result(120)
    pd.testing.assert_frame_equal(scores, scored(survey, records, dict(model=said))[0])
    assert items == list(survey.codebook.items)


ALONE = '''
import multiprocessing, sys
sys.path.insert(0, 'nbs/_site')
multiprocessing.get_all_start_methods = lambda: ['spawn']
if __name__ == '__main__':
    import run_tests
    run_tests.main(sys.argv[1:])
'''


def test_pages_run_where_nothing_can_be_copied(tmp_path):
    (tmp_path/'alone.py').write_text(ALONE, encoding='utf-8')
    pages = ['nbs/files/03_writing.ipynb', 'nbs/parsing/04_options.ipynb']
    done = subprocess.run([sys.executable, tmp_path/'alone.py', *pages], cwd=ROOT, capture_output=True, encoding='utf-8', timeout=300)
    assert '2 notebooks run from top to bottom' in done.stdout, done.stdout[-1000:] + done.stderr[-1000:]


class Gone:
    "A pipe that nobody reads any more, as Windows has it: no BrokenPipeError."
    def __init__(self, pipe):
        self.pipe = pipe

    def write(self, text):
        raise OSError(errno.EINVAL, 'Invalid argument')

    def close(self):
        self.pipe.close()


def test_a_reader_that_is_gone_is_said_in_words_on_windows_too(monkeypatch):
    def gone(*args, **how):
        child = started(*args, **how)
        child.kill()
        child.stdin = Gone(child.stdin)
        return child

    started = subprocess.Popen
    with pytest.raises(ValueError, match='its reader crashed'):
        apart.run_apart('os:abort')    # so that the next call begins with a new one
    with monkeypatch.context() as m, pytest.raises(ValueError, match='its reader crashed'):
        m.setattr(subprocess, 'Popen', gone)
        apart.run_apart('posixpath:join', 'a', 'b')
    assert apart.run_apart('posixpath:join', 'a', 'b') == 'a/b'


def test_a_file_that_windows_keeps_open_does_not_lose_the_model_that_was_made(tmp_path, monkeypatch):
    "The GGUF file is mapped into memory, and there nobody may remove it as long as it is."
    def packaged(folder):
        (Path(folder)/'x.gguf').touch()
        return Path(folder)/'x.gguf'

    def remove(path, *args, **how):
        if str(path).endswith('.gguf'):
            raise PermissionError(errno.EACCES, 'it is in use', str(path))
        return unlink(path, *args, **how)

    unlink = os.unlink
    monkeypatch.setattr(embedded, 'cache_folder', lambda: tmp_path)
    monkeypatch.setattr(embedded, 'packaged_gguf', packaged)
    monkeypatch.setattr(embedded, '_to_safetensors', lambda gguf, folder: folder.mkdir())
    monkeypatch.setattr(os, 'unlink', remove)
    assert embedded.embedded_folder().is_dir()
