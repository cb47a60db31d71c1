"The journal: kills, parts, what runs share, other data, a full disk, the card of a run and running it again."
import json, os, shutil, sqlite3, subprocess, sys
from pathlib import Path
import pandas as pd, pytest

from alignsurvey.prediction.journal import Journal, join_journals
from alignsurvey.prediction.predictions import read_reply
from alignsurvey.prediction.elicitation import predict, read_run
from alignsurvey.records.reading import make_records, write_records
from alignsurvey.prediction.runs import compare_predictions, read_run_card
from test_server import prompts, stub

ROOT = Path(__file__).parents[1]
HAS_CC = sys.platform == 'linux' and shutil.which('cc')


class Parrot:
    "Answers every prompt at once, and remembers what it was asked."
    keeps_draws = False
    def __init__(self): self.asked = []
    def settings(self, elicitation, how): return [elicitation, 'parrot']
    def card(self): return dict(model='parrot')
    def plan(self, records): return [range(i, min(i + 4, len(records))) for i in range(0, len(records), 4)]
    def collect(self, records, keys, batches, elicitation, log, run, how):
        known = log.answered(keys)
        for rows in batches:
            new = [i for i in rows if keys[i] not in known]
            self.asked += [records[i]['record_id'] for i in new]
            log.add({keys[i]: dict(value=i % 2, probs=[.5, .5], status='ok', seconds=.1) for i in new}, run)


def test_killed_runs_repeat_only_what_was_in_flight(tmp_path):
    out = tmp_path/'kills.json'
    done = subprocess.run([sys.executable, ROOT/'benchmarks'/'kills.py', '--kills', '4', '--records', '160', '--out', out], capture_output=True, text=True, timeout=900, env=dict(os.environ, TQDM_DISABLE='1'))
    assert done.returncode == 0, done.stderr
    for where, r in json.loads(out.read_text()).items():
        assert r['kills'] >= 1, f'{where}: the run was over before the first kill'
        assert r['differences'] == [] and r['asked'] == 160 and r['asked_twice'] <= r['at_most'], where


def test_a_minute_of_everything_that_goes_wrong(tmp_path):
    out = tmp_path/'chaos.json'
    done = subprocess.run([sys.executable, ROOT/'benchmarks'/'chaos.py', '--quick', '--out', out], capture_output=True, text=True, timeout=900, env=dict(os.environ, TQDM_DISABLE='1'))
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(out.read_text())
    faults = told.pop('faults')
    assert (faults['lost'], faults['doubled'], faults['differences']) == (0, 0, []) and faults['recorded_tokens'] >= faults['billed_tokens']
    assert faults['kinds'] > 80 and faults['kinds_seen'] > 40 and faults['faulty'] > faults['prompts']/4
    packets = told.pop('packets', None)    # not everywhere may a process have a network of its own
    assert packets is None or (packets['lost'], packets['differences']) == (0, []) and packets['bad']['recorded_tokens'] >= packets['bad']['billed_tokens']
    assert set(told) == {'kills', 'disk', 'clock', 'writers', 'locked', *(['slow'] if HAS_CC else [])} and sum(work['times'] for event in told.values() for work in event.values()) >= 5


WRITES = '''import os, sys, threading, time
folder, sizes, start = sys.argv[1], set(), time.perf_counter()
def look():
    while True:
        sizes.add(os.path.getsize(folder + '/x') if os.path.exists(folder + '/x') else 0)
threading.Thread(target=look, daemon=True).start()
for _ in range(20):
    with open(folder + '/x', 'wb', 0) as f:
        f.write(b'x'*1000)
        os.fsync(f.fileno())
print(time.perf_counter() - start, 500 in sizes)'''


@pytest.mark.skipif(not HAS_CC, reason='it needs Linux and a C compiler')
def test_a_slow_disk_is_slow_and_a_kill_could_find_half_of_what_is_written(tmp_path):
    library = tmp_path/'slow_disk.so'
    subprocess.run(['cc', '-Wall', '-Werror', '-shared', '-fPIC', ROOT/'benchmarks'/'slow_disk.c', '-o', library, '-ldl'], check=True)
    told = {}
    for name in 'slow', 'other':
        (tmp_path/name).mkdir()
        env = dict(os.environ, LD_PRELOAD=str(library), SLOW_UNDER=str(tmp_path/'slow'))
        seconds, half = subprocess.run([sys.executable, '-c', WRITES, tmp_path/name], env=env, capture_output=True, text=True, check=True).stdout.split()
        told[name] = float(seconds), half == 'True'
    assert told['slow'][0] > .3 + told['other'][0] and told['slow'][1] and not told['other'][1]


def test_two_runs_share_what_they_share_and_an_edited_record_is_asked_again(tmp_path):
    records, parrot, journal = prompts(20), Parrot(), tmp_path/'run.sqlite'
    predict(parrot, records.select(range(12)), journal=journal)
    predict(parrot, records, journal=journal)
    assert parrot.asked == records['record_id'][:]
    edited = records.map(lambda r, i: {'instruction': r['instruction'] + ' '*(i == 3)}, with_indices=True, load_from_cache_file=False)
    whole = predict(parrot, edited, journal=journal)
    assert parrot.asked[20:] == ['r3'] and len(whole) == 20 and len(Journal(journal)) == 21
    names = list(Journal(journal).runs())
    assert [len(read_run(journal, n)) for n in names] == [12, 20, 20]


def test_a_journal_of_other_data_is_refused_and_kept(tmp_path, cli):
    journal = tmp_path/'a.sqlite'
    before = predict(Parrot(), prompts(5), journal=journal)
    others = make_records([dict(instruction='Trust?\nA. yes\nB. no', output='A', answer_form='label')], source='trust')
    with pytest.raises(ValueError, match='is a journal of answers about made, and these records are from trust: choose another journal'): predict(Parrot(), others, journal=journal)
    assert compare_predictions(before, read_run(journal)) == []
    write_records(others, tmp_path/'trust.jsonl')
    with sqlite3.connect(tmp_path/'photos.sqlite') as db: db.execute('create table photos (name text)')
    with stub() as (url, _):
        for journal, said in (journal, 'answers about made'), (tmp_path/'photos.sqlite', 'database of something else'), ('/proc/p.sqlite', "can't be used as a journal"), (tmp_path/'trust.jsonl', "can't be used as a journal"):
            code, _, err = cli('predict', tmp_path/'trust.jsonl', tmp_path/'p.jsonl', '--server', url, '--journal', journal)
            assert code == 2 and said in err and len(err.strip().splitlines()) == 1, err
    assert not (tmp_path/'p.jsonl').exists() and len(Journal(tmp_path/'a.sqlite')) == 5 and 'photos' in (tmp_path/'photos.sqlite').read_bytes().decode('latin-1')


def test_a_full_disk_stops_a_run_in_one_sentence_and_loses_nothing(tmp_path, monkeypatch):
    full, opened, records = [True], Journal.__init__, prompts(2_000)
    def small(self, path):
        opened(self, path)
        if full: self.db.execute('pragma max_page_count = 100')
    monkeypatch.setattr(Journal, '__init__', small)
    parrot = Parrot()
    with pytest.raises(OSError, match="can't be written .*full.*: free space or choose another place, and run again; what it holds is kept"): predict(parrot, records, journal=tmp_path/'run.sqlite')
    full.clear()
    kept = len(Journal(tmp_path/'run.sqlite'))
    whole = predict(parrot, records, journal=tmp_path/'run.sqlite')
    assert 0 < kept < 2_000 == len(whole) and set(whole.status) == {'ok'} and len(parrot.asked) - 2_000 <= 4


def test_parts_under_a_launcher_joined_are_the_whole_run(tmp_path, cli):
    write_records(prompts(21), tmp_path/'r.jsonl')
    with stub() as (url, saw):
        ask = ['predict', tmp_path/'r.jsonl', '--model', 'm', '--server', url]
        (tmp_path/'one').mkdir(); (tmp_path/'two').mkdir()
        assert cli(*ask, tmp_path/'one'/'p.jsonl')[0] == 0
        for rank in 0, 1: assert cli(*ask, tmp_path/'two'/'p.jsonl', RANK=str(rank), WORLD_SIZE='2')[0] == 0
        assert sum(n for p, n in saw()['served'].items() if p.startswith('You are')) == 2*21
    assert cli('join', tmp_path/'two'/'p.jsonl')[0] == 0
    without = lambda path: sorted(json.dumps({k: v for k, v in json.loads(l).items() if k != 'seconds'}) for l in path.read_text().splitlines())
    assert without(tmp_path/'one'/'p.jsonl') == without(tmp_path/'two'/'p.jsonl')
    cards = [read_run_card(tmp_path/f/'p.jsonl') for f in ('one', 'two')]
    assert cards[0]['predictions_hash'] == cards[1]['predictions_hash'] and cards[0]['run'] == cards[1]['run']
    (tmp_path/'two'/'p.2of2.card.json').unlink()
    code, _, err = cli('join', tmp_path/'two'/'p.jsonl', '--overwrite')
    assert code == 2 and 'this part is not finished' in err


def test_parts_of_different_numbers_are_refused(tmp_path):
    parts = [tmp_path/'p.1of2.sqlite', tmp_path/'p.2of3.sqlite']
    for path, shard in zip(parts, ((1, 2), (2, 3))): predict(Parrot(), prompts(16), journal=path, shard=shard)
    with pytest.raises(ValueError, match='are parts of 2 and of 3: keep those of one number'): join_journals(parts, tmp_path/'p.sqlite')


def test_a_run_is_reproduced_and_its_card_holds_no_key(tmp_path, cli):
    write_records(prompts(12), tmp_path/'r.jsonl')
    with stub() as (url, saw):
        key = dict(OPENAI_API_KEY='sk-xyzzy-secret')
        assert cli('predict', 'r.jsonl', 'p.jsonl', '--model', 'm', '--server', url, cwd=tmp_path, **key)[0] == 0
        code, out, err = cli('reproduce', 'p.jsonl', cwd=tmp_path, **key)
        assert code == 0 and 'p.jsonl: equal in everything but seconds' in out and max(saw()['served'].values()) == 2, out + err
        rows = [json.loads(l) for l in (tmp_path/'p.jsonl').read_text().splitlines()]
        rows[0]['value'] = 1 - rows[0]['value']
        (tmp_path/'p.jsonl').write_text('\n'.join(map(json.dumps, rows)))
        code, out, _ = cli('reproduce', 'p.jsonl', cwd=tmp_path, **key)
        assert code == 1 and out.startswith('value differs in 1 of 12 records')
    write_records(prompts(11), tmp_path/'r.jsonl', overwrite=True)
    code, _, err = cli('reproduce', 'p.jsonl', cwd=tmp_path, **key)
    assert code == 2 and 'these are not the records of the run' in err and len(err.strip().splitlines()) == 1
    card = read_run_card(tmp_path/'p.jsonl')
    assert card['probe'] == dict(mode='score', logprobs=20) and card['statuses'] == {'ok': 12} and card['versions']['alignsurvey']
    assert b'xyzzy' not in b''.join(f.read_bytes() for f in tmp_path.iterdir())


def test_an_unfinished_run_is_exported(tmp_path, cli):
    records = prompts(20)
    with pytest.raises(ZeroDivisionError):
        class Tired(Parrot):
            def collect(self, records, keys, batches, *rest):
                super().collect(records, keys, batches[:2], *rest)
                1/0
        predict(Tired(), records, journal=tmp_path/'run.sqlite')
    code, _, err = cli('export', tmp_path/'run.sqlite', tmp_path/'so_far.parquet')
    assert code == 0, err
    assert list(pd.read_parquet(tmp_path/'so_far.parquet').record_id) == records['record_id'][:8] and err == ''
    predict(Parrot(), prompts(12), journal=tmp_path/'run.sqlite')
    first, last = Journal(tmp_path/'run.sqlite').runs()
    code, _, err = cli('export', tmp_path/'run.sqlite', tmp_path/'last.jsonl')
    assert code == 0 and f'holds 2 runs; this is the last, {last}: name another with --name, {first}' in err
    assert cli('export', tmp_path/'run.sqlite', tmp_path/'first.jsonl', '--name', first)[2] == ''
    assert cli('export', tmp_path/'none.sqlite', tmp_path/'x.jsonl')[0] == 2


def test_thinking_that_a_server_gives_apart_stays_apart():
    record = prompts(1)[0]
    assert read_reply('B', record, thinking='Holes?') == dict(text='B', value=1, probs=None, status='ok', why=None, thinking='Holes?')
