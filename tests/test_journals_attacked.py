"Journals, batches and budgets under attack: nobody gets another's answer, nothing is paid twice, and what is spent is counted."
import copy, http.server, json, multiprocessing, os, re, sqlite3, subprocess, sys, threading, time
from pathlib import Path
import pytest, torch

from alignsurvey.models.export import merge
from alignsurvey.models.loading import load_model
from alignsurvey.prediction.batch_api import in_batches
from alignsurvey.prediction.cost import estimate_cost, run_status
from alignsurvey.prediction.elicitation import predict, read_run
from alignsurvey.prediction.journal import Journal
from alignsurvey.prediction.predictor import function_predictor
from alignsurvey.prediction.server import connect, most_written
from alignsurvey.records.reading import make_records
from alignsurvey.training.trainer import sft
from test_hostile_servers import FINE, serve
from test_server import prompts
from test_sft import SMALL, people, save_tiny

ANSWER = json.dumps(FINE).encode()


def always(status, body, **headers):
    "The same reply to everything after the probe."
    return lambda _, n: (200, {}, ANSWER) if n == 0 else (status, headers, json.dumps(body).encode())


def with_usage(**usage):
    "A fine reply that says this of what it cost."
    return json.dumps(FINE | dict(usage=usage)).encode()


# --- whose answer it is

def named(*ids):
    "Records of the same prompts under these ids."
    asks = [f'You are person {i}. Roads?\nA. too little\nB. too much' for i in range(len(ids))]
    return make_records([dict(record_id=i, respondent_id=i, output='A', answer_form='label', instruction=p) for i, p in zip(ids, asks)], source='made')


def says(p):
    "What person p says: the first A, all others B."
    reply = copy.deepcopy(FINE)
    top = reply['choices'][0]['logprobs']['content'][0]['top_logprobs']
    if p:
        for listed, token in zip(top, 'BA'): listed['token'] = token
        reply['choices'][0]['logprobs']['content'][0]['token'] = 'B'
    return json.dumps(reply).encode()


def test_answers_keep_to_the_ids_that_were_asked(tmp_path):
    with serve(lambda body, n: (200, {}, says('person 1.' in body['messages'][0]['content']))) as (url, asked):
        ask = lambda *ids: predict(connect('m', base_url=url), named(*ids), journal=tmp_path/'j.sqlite')
        frames = [ask('r0', 'r1'), ask('r1', 'r0'), ask('x', 'y')]
        sent = [body for body, _ in asked if 'person' in body['messages'][0]['content']]
    assert [list(f.record_id) for f in frames] == [['r0', 'r1'], ['r1', 'r0'], ['x', 'y']]
    assert all(list(f.value) == [0, 1] for f in frames) and len(sent) == 2, 'answers are shared, and belong to their prompts'
    runs = [s['run'] for s in run_status(tmp_path/'j.sqlite')]
    assert len(set(runs)) == 3 and list(read_run(tmp_path/'j.sqlite', runs[1]).record_id) == ['r1', 'r0']


def test_a_run_of_an_earlier_version_goes_on_where_its_ids_are_the_same(tmp_path):
    "Its name did not hold the ids: here it is given such a name."
    from alignsurvey.prediction.elicitation import content_keys
    import hashlib
    asks = function_predictor(lambda r: [.9, .1], 'f')
    predict(asks, named('r0', 'r1'), journal=tmp_path/'j.sqlite')
    with sqlite3.connect(tmp_path/'j.sqlite') as db:
        keys = [k for k, in db.execute('select key from asked order by place')]
        old = hashlib.sha256(f"None{''.join(keys)}".encode()).hexdigest()[:16]
        for table in 'runs', 'asked': db.execute(f'update {table} set run = ?', (old,))
    assert predict(asks, named('r0', 'r1'), journal=tmp_path/'j.sqlite').attrs['run'] == old
    assert list(read_run(tmp_path/'j.sqlite', old).record_id) == ['r0', 'r1']


def test_a_journal_takes_what_a_run_asks_now():
    log = Journal()
    for ids in ('r0', 'r1'), ('r1', 'r0'):
        log.begin('a', dict(elicitation='score'), [(i, name, f'k{i}', 2) for i, name in enumerate(ids)])
    log.add({f'k{i}': dict(status='ok', value=i) for i in range(2)}, 'a')
    assert log.predictions('a').set_index('record_id').value.to_dict() == dict(r1=0, r0=1)


# --- the file itself

def ask_here(path, n=4): return predict(function_predictor(lambda r: [.9, .1], 'f'), prompts(n), journal=path)


def in_turn(path, url): predict(connect('m', base_url=url, concurrency=4), prompts(30), journal=path)


@pytest.mark.skipif(sys.platform == 'win32', reason='links need rights there')
def test_a_link_to_a_journal_is_the_journal(tmp_path):
    (tmp_path/'link.sqlite').symlink_to(tmp_path/'run.sqlite')
    def slow(body, n):
        time.sleep(.05)
        return 200, {}, ANSWER
    with serve(slow) as (url, asked):
        pair = [multiprocessing.get_context('spawn').Process(target=in_turn, args=(tmp_path/name, url)) for name in ('run.sqlite', 'link.sqlite')]
        for process in pair: process.start()
        for process in pair: process.join()
        sent = [body['messages'][0]['content'] for body, _ in asked if 'person' in body['messages'][0]['content']]
    assert [p.exitcode for p in pair] == [0, 0] and len(sent) == len(set(sent)) == 30


def open_many(folder, barrier, said):
    for i in range(20):
        barrier.wait()
        try:
            log = Journal(folder/f'{i}.sqlite')
            log.add({str(os.getpid()): dict(status='ok')})
            log.close()
        except Exception as e: said.put(f'{type(e).__name__}: {e}')
    said.put('done')


@pytest.mark.skipif(sys.platform == 'win32', reason='processes are not forked there')
def test_a_new_journal_can_be_opened_by_many_at_one_moment(tmp_path):
    ctx = multiprocessing.get_context('fork')
    barrier, said = ctx.Barrier(6), ctx.Queue()
    many = [ctx.Process(target=open_many, args=(tmp_path, barrier, said)) for _ in range(6)]
    for process in many: process.start()
    heard = []
    while heard.count('done') < 6: heard.append(said.get(timeout=200))
    for process in many: process.join()
    assert set(heard) == {'done'} and all(len(Journal(tmp_path/f'{i}.sqlite')) == 6 for i in range(20))


READ = '''
from alignsurvey.prediction.cost import run_status
from alignsurvey.prediction.elicitation import read_run
for read in read_run, run_status:
    try: print(len(read('ro/j.sqlite')))
    except ValueError as e: print(e)
'''


def on_a_read_only_disk(folder):
    "What READ prints of the journal ro/j.sqlite where nothing can be written."
    mounted = 'mount --bind ro ro && mount -o remount,ro,bind ro && exec "$0" -c "$1"'
    done = subprocess.run(['unshare', '-m', 'sh', '-c', mounted, sys.executable, READ], cwd=folder, capture_output=True, text=True)
    if 'unshare' in done.stderr or 'mount' in done.stderr: pytest.skip('disks can be made read-only by root alone')
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(sys.platform != 'linux', reason='unshare is of Linux')
def test_a_journal_on_a_read_only_disk_is_read(tmp_path):
    (tmp_path/'ro').mkdir()
    ask_here(tmp_path/'ro'/'j.sqlite')
    before = sorted((tmp_path/'ro').iterdir())
    assert on_a_read_only_disk(tmp_path) == ['4', '1']
    assert sorted((tmp_path/'ro').iterdir()) == before
    (tmp_path/'ro'/'j.sqlite-wal').write_bytes(b'not yet in the file')
    assert all('copy both to a folder that can be written' in line for line in on_a_read_only_disk(tmp_path))


def test_reading_a_run_leaves_its_journal_as_it_is(tmp_path):
    ask_here(tmp_path/'j.sqlite')
    before = (tmp_path/'j.sqlite').read_bytes()
    assert len(read_run(tmp_path/'j.sqlite')) == 4 and (tmp_path/'j.sqlite').read_bytes() == before


@pytest.mark.parametrize('what', ['zeros', 'json'])
def test_a_damaged_journal_is_not_a_full_disk(what, tmp_path):
    path = tmp_path/'j.sqlite'
    ask_here(path, 400)
    if what == 'zeros':
        raw = bytearray(path.read_bytes())
        raw[4096:] = bytes(len(raw) - 4096)
        path.write_bytes(raw)
        for read in read_run, ask_here:
            with pytest.raises(ValueError, match='is damaged|be used as a journal'): read(path)
    else:
        with sqlite3.connect(path) as db: db.execute("update runs set facts = '{'")
        with pytest.raises(ValueError, match='is damaged'): ask_here(path)
