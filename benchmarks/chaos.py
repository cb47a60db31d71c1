"""Acknowledged means durable, asked means counted, paid means recorded: also where everything around a run goes wrong?

- faults: a server that answers a share of all requests in one of the ways of tests/stub_faults.py, against one that never fails
- kills: kill -9 at random moments over predict (on this machine, on a server, in batches), train, convert and report
- disk: the same work where files may not grow beyond a limit, then without one
- clock: a clock that jumps while a run goes on
- writers: two runs at once into one journal, one of which is killed
- locked: the journal is locked for up to a second at a time, as by another program that reads it
- slow: a disk that takes up to half a second to flush, rename or cut a file, and up to 50 ms in the middle of each write, and kill -9 while
  it does. slow_disk.c, which is loaded before the C library, sees to that; it needs Linux and a C compiler, and is left out where they are
  not. It doesn't slow what is read, nor SQLite's index, which is written through memory; and nothing that was written and not flushed is
  lost, as it would be where a machine loses power
- packets: a network that drops a fifth of all packets (needs unshare and iptables; left out where they are not)

Run: make chaos, or python benchmarks/chaos.py [--quick] [--only kills] [--first 0] [--runs 10] [--prompts 10000].
Each run has a number (its seed); runs with other numbers are added to what chaos.json holds. Ends with 1 where something was wrong."""
import os
os.environ |= dict(OMP_NUM_THREADS='1', TQDM_DISABLE='1')    # a forked process has no threads but its own
import argparse
import contextlib
import json
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openai  # noqa: F401 (slow to import, so before the forks)
import pandas as pd
import torch

from kills import HERE, count_asked, prompts, stub, tiny
from options import Options
from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.models.loading import load_model
from alignsurvey.prediction.batch_api import in_batches
from alignsurvey.prediction.cost import run_status
from alignsurvey.prediction.elicitation import predict, read_run
from alignsurvey.prediction.journal import Journal
from alignsurvey.prediction.runs import compare_predictions
from alignsurvey.prediction.server import connect
from alignsurvey.records.reading import write_records
from alignsurvey.reporting.page import report
from alignsurvey.tasks.registry import Survey
from alignsurvey.training.trainer import sft

sys.path.insert(0, str(HERE.parent/'tests'))
from stub_faults import FAULTS, HARMLESS  # noqa: E402
from test_sft import SMALL, people, save_tiny, weights  # noqa: E402

BATCH, CONCURRENCY, RECORDS = 8, 8, 120
DAY = 86_400
DONE, REFUSED, BROKEN = 0, 3, 4    # how a child ends: through, with a sentence, with anything else


# --- a share of all replies is wrong

def predicted(url, records, journal, most=30):
    """Calls of `predict` until each record has an answer: the last predictions, calls, calls that the server stopped, and what failed
    in the first."""
    server = connect('stub', base_url=url, concurrency=32, timeout=2., tries=8, patience=2., prices=(1., 1.))
    calls, stopped, failed = 0, 0, None
    while calls < most:
        calls += 1
        try:
            found = predict(server, records, journal=journal)
        except ConnectionError:
            stopped += 1
            continue
        bad = found[found.status != 'ok']
        failed = dict(Counter(bad.why)) if failed is None else failed
        if not len(bad):
            break
    return found, calls, stopped, failed


def recorded_tokens(journal):
    "Prompt tokens that a journal knows of: those of its answers, and those charged."
    with contextlib.closing(sqlite3.connect(journal)) as db:
        return int(db.execute("select total(json_extract(answer, '$.asked')) from answers").fetchone()[0]
                   + db.execute('select total(asked) from charges').fetchone()[0])


def faults(n, share, seed, folder):
    "One run against a server that never fails, one against a server that often does."
    records, found, seconds = prompts(n), {}, {}
    for faulty in (0., share):
        journal = folder/f'{faulty}.sqlite'
        with stub(latency=.1, faults=faulty, every=True, hang=3., seed=seed) as (url, saw):
            start = time.perf_counter()
            found[faulty], calls, stopped, failed = predicted(url, records, journal)
            seconds[faulty], seen = time.perf_counter() - start, saw()
    different = [d for d in compare_predictions(found[0.], found[share]) if not d.startswith('tokens ')]    # some replies tell no number
    kinds = {k: seen['kinds'].get(k, 0) for k in FAULTS | HARMLESS}
    served = [n for p, n in seen['served'].items() if p.startswith('You are')]
    recorded = recorded_tokens(journal)
    done = found[share]
    answers_once = sum(n - 1 for n in served)
    return dict(prompts=n, kinds=len(kinds), kinds_seen=sum(map(bool, kinds.values())), faulty=sum(kinds.values()), replies=sum(seen['kinds'].values()),
                calls=calls, stopped=stopped, failed_in_first_call=failed, lost=int((done.status != 'ok').sum()) + n - len(done),
                differences=different, doubled=answers_once, billed_tokens=seen['billed'], recorded_tokens=recorded,
                seconds=round(seconds[share], 1), fault_free_seconds=round(seconds[0.], 1), times=round(seconds[share]/seconds[0.], 2), by_kind=kinds)


# --- packets are dropped

DROP = .2    # of all packets
ALONE = ['unshare', '-rn', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh']    # a network of its own, without rights on this machine


@contextlib.contextmanager
def dropping(share):
    "While this lasts, a share of all packets is lost."
    rule = ['INPUT', '-i', 'lo', '-m', 'statistic', '--mode', 'random', '--probability', str(share), '-j', 'DROP']
    subprocess.run(['iptables', '-A', *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(['iptables', '-D', *rule], check=True)


def packets(n, folder):
    "One run in a good network, one in a bad one. A reply that comes too late is paid and asked for again."
    records, frames, told = prompts(n), {}, {}
    for name, share in dict(good=0., bad=DROP).items():
        journal = folder/f'{name}.sqlite'
        with stub(latency=.02) as (url, saw):
            start = time.perf_counter()
            with dropping(share):
                frames[name], calls, stopped, _ = predicted(url, records, journal)
            told[name] = dict(calls=calls, stopped=stopped, seconds=round(time.perf_counter() - start, 1),
                billed_tokens=saw()['billed'], recorded_tokens=recorded_tokens(journal))
    lost = int((frames['bad'].status != 'ok').sum()) + n - len(frames['bad'])
    different = [d for d in compare_predictions(frames['good'], frames['bad']) if not d.startswith('tokens ')]
    return dict(prompts=n, dropped=DROP, lost=lost, differences=different, **told)


def alone():
    "This command again in a network of its own, for packets only: how it ended; 0 where there is no such network."
    try:
        subprocess.run([*ALONE, 'iptables', '-L'], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        print('packets: left out, for they need unshare and iptables')
        return 0
    return subprocess.run([*ALONE, sys.executable, *sys.argv, '--alone']).returncode


# --- work that is killed, runs into a full disk or meets another clock

@dataclass
class Work:
    "Something that is done into a folder; `wrong` says what is not as it should be there, `finished` where it is through."
    do: object
    wrong: object
    paid: object = None    # from a folder to how often each prompt was paid for, so far
    in_flight: int = 0     # prompts that a kill may cost


def child_of(do, folder, limit=None):
    "Have it done in a process of its own, with files no larger than `limit`."
    if child := os.fork():
        return child
    code = BROKEN
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(os.open(folder/'said.txt', os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        if limit:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        do(folder)
        code = DONE
    except (ValueError, OSError) as e:
        print(f'{type(e).__name__}: {e}', file=sys.stderr)
        code = REFUSED
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(do, folder, limit=None):
    "The same, to its end: its exit code."
    return os.waitstatus_to_exitcode(os.waitpid(child_of(do, folder, limit), 0)[1])


def said_in(folder):
    return (folder/'said.txt').read_text(encoding='utf-8')[-500:].strip()


def finish_whole(do, folder):
    "What nothing disturbs."
    folder.mkdir()
    assert finish(do, folder) == DONE, said_in(folder)


def is_alive(child):
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def kept_before(folder):
    "Have the keys that a journal acknowledges noted in a file of their own, once `add` is back."
    add = Journal.add
    def noted(self, answers, run=None):
        add(self, answers, run)
        with open(folder/'kept.txt', 'a', encoding='utf-8') as f:
            f.write(''.join(key + '\n' for key in answers))
    Journal.add = noted


def acknowledged_lost(folder):
    "Keys that were acknowledged and are not on disk."
    log = folder/'kept.txt'
    if not log.exists():
        return []
    noted = set(log.read_text(encoding='utf-8').split())
    with contextlib.closing(Journal(folder/'run.sqlite')) as journal:
        gone = noted - set(journal.answered(noted))
    return [f'{len(gone)} acknowledged answers are gone'] if gone else []


def prediction_work(ask, paid, in_flight, whole):
    "Work on a journal: `ask(folder)` predicts into its run.sqlite."
    def do(folder):
        kept_before(folder)
        ask(folder)
    def wrong(folder, finished):
        said = acknowledged_lost(folder)
        if finished:
            said += compare_predictions(whole, read_run(folder/'run.sqlite'))
            state = run_status(folder/'run.sqlite')[0]
            if state['answered'] != state['total']:
                said.append(f"{state['answered']} of {state['total']} counted")
        return said
    return Work(do, wrong, paid, in_flight)


def whole_of(ask, folder):
    "What an unbroken run predicts."
    finish_whole(ask, folder)
    return read_run(folder/'run.sqlite')


@contextlib.contextmanager
def local_work(folder):
    lm, records = tiny(), prompts(RECORDS)
    def ask(to):
        count_asked(to/'asked.txt')
        predict(lm, records, journal=to/'run.sqlite', batch=BATCH)
    paid = lambda to: Counter((to/'asked.txt').read_text(encoding='utf-8').split()) if (to/'asked.txt').exists() else Counter()
    yield prediction_work(ask, paid, BATCH, whole_of(ask, folder/'whole'))


@contextlib.contextmanager
def server_work(folder):
    records = prompts(RECORDS)
    with stub(latency=.02) as (url, saw):
        server = connect('stub', base_url=url, concurrency=CONCURRENCY)
        server.facts = dict(mode='score', logprobs=20)    # what a probe finds, without a thread before the forks
        ask = lambda to: predict(server, records, journal=to/'run.sqlite')
        paid = lambda to: Counter({p: n for p, n in saw()['served'].items() if p.startswith('You are')})
        yield prediction_work(ask, paid, CONCURRENCY, whole_of(ask, folder/'whole'))


@contextlib.contextmanager
def batch_work(folder):
    "A submitted file is paid; nothing that is submitted may be asked again, also not what was in flight."
    records = prompts(RECORDS)
    with stub() as (url, saw):
        server = in_batches(connect('stub', base_url=url), per_file=RECORDS//4, every=.05)
        server.facts = dict(mode='score', logprobs=20)
        ask = lambda to: predict(server, records, journal=to/'run.sqlite')
        paid = lambda to: Counter(p for batch in saw()['batches'] for p in batch['prompts'])
        yield prediction_work(ask, paid, 0, whole_of(ask, folder/'whole'))


@contextlib.contextmanager
def train_work(folder):
    "A run of training that is killed goes on, and ends in the same weights."
    base, settings = save_tiny(folder/'base'), SMALL | dict(epochs=4, dropout=.1)
    def do(to):
        if not (to/'out'/'sft.json').exists():    # through already
            sft(load_model(base), people(8), to/'out', save_every=2, **settings)
    finish_whole(do, folder/'whole')
    whole = weights(folder/'whole'/'out')
    def wrong(to, finished):
        card = to/'out'/'sft.json'
        if card.exists():
            json.loads(card.read_text(encoding='utf-8'))
        if not finished:
            return []
        ours = weights(to/'out')
        same = ours.keys() == whole.keys() and all(torch.equal(ours[k], whole[k]) for k in whole)
        return [] if same else ['weights differ from those of an unbroken run']
    yield Work(do, wrong)


def file_work(write, folder, name):
    "Work that replaces one file: what is there is the old one or the new one, whole."
    finish_whole(write, folder/'whole')
    new, old = (folder/'whole'/name).read_bytes(), b'the old file\n'
    def wrong(to, finished):
        held = (to/name).read_bytes() if (to/name).exists() else None
        fine = [new] if finished else [new, old, None]
        return [] if held in fine else [f'{name} is neither the old nor the new file']
    return Work(write, wrong)


@contextlib.contextmanager
def convert_work(folder):
    rng, n = np.random.default_rng(0), 1_000
    frame = pd.DataFrame(dict(id=range(n), age=rng.integers(18, 90, n), q=rng.integers(1, 4, n)))
    frame.to_csv(folder/'x.csv', index=False)
    (folder/'codebook.yaml').write_text('id: made\nrespondent_id: id\nbackground:\n  age: {question: your age, scale: numeric, bins: [18, 40, 90]}\n'
        'items:\n  q: {question: Roads, scale: ordinal, options: {1: less, 2: same, 3: more}}\n', encoding='utf-8')
    def write(to):
        write_records(Survey.load(folder/'x.csv').records('response', verbose=False), to/'out.jsonl', overwrite=True)
    yield file_work(write, folder, 'out.jsonl')


@contextlib.contextmanager
def report_work(folder):
    import matplotlib
    matplotlib.use('agg')
    records = people(20)
    made = pd.DataFrame(dict(record_id=records['record_id'], value=[0, 1]*20, probs=[[.6, .4]]*40, status='ok', elicitation='score'))
    scores = evaluate(records, dict(model=made), baselines=False, n_boot=100)
    write = lambda to: report(scores, to/'out.html', records=records, models=['model'], overwrite=True)
    yield file_work(write, folder, 'out.html')


WORKS = {'predict here': local_work, 'predict on a server': server_work, 'predict in batches': batch_work,
         'train': train_work, 'convert': convert_work, 'report': report_work}


# --- what happens to it

def kill_at_random(work, folder, rng, whole_s):
    "Start it and kill it, at any moment or while it writes; whether it was still alive."
    child = child_of(work.do, folder)
    if not work.paid and rng.random() < .5:    # files are written in the last moment
        while is_alive(child) and not list(folder.rglob('*.part')):
            time.sleep(.0005)
        time.sleep(rng.uniform(0, .01))
    else:
        time.sleep(rng.random()*rng.uniform(0, whole_s))    # what is done is not done again
    alive = is_alive(child)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return alive


def killed(work, folder, rng, whole_s, times=5):
    "Killed up to so many times."
    count, wrong = 0, []
    for _ in range(times):
        count += kill_at_random(work, folder, rng, whole_s)
        wrong += work.wrong(folder, False)
    return count, wrong


def on_a_full_disk(work, folder, rng, whole_s):
    "Five times with a limit on the size of a file: it ends with a sentence, or it is through."
    count, wrong = 0, []
    for _ in range(5):
        code = finish(work.do, folder, limit=int(2**rng.uniform(13, 19)))
        count += code != DONE
        if code not in (DONE, REFUSED):
            wrong.append(f'not refused in a sentence: {said_in(folder)}')
        wrong += work.wrong(folder, False)
    return count, wrong


def jumping(do, seed):
    "The same while the clock jumps by days and years, back and forth."
    def jumped(folder):
        rng, clock = random.Random(seed), time.time
        time.time = lambda: clock() + rng.choice([-3_650, -1, 0, 0, 1, 3_650])*DAY
        do(folder)
    return jumped


def with_a_jumping_clock(work, folder, rng, whole_s):
    "Two times, and killed."
    other = Work(jumping(work.do, rng.random()), work.wrong)
    count, wrong = 0, []
    for _ in range(2):
        count += kill_at_random(other, folder, rng, whole_s)
        wrong += work.wrong(folder, False)
    if finish(other.do, folder) != DONE:
        wrong.append(f'not through: {said_in(folder)}')
    return count, wrong + work.wrong(folder, True)


def beside_another(work, folder, rng, whole_s):
    "Two processes at once, one of them killed at a random moment: the other one ends well."
    first, second = child_of(work.do, folder), child_of(work.do, folder)
    time.sleep(rng.uniform(0, whole_s))
    count = int(is_alive(first))
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    code = os.waitstatus_to_exitcode(os.waitpid(second, 0)[1])
    wrong = [] if code == DONE else [f'the other one broke: {said_in(folder)}']
    return count, wrong + work.wrong(folder, True)


def holding(path, rng):
    "A process that locks a journal again and again; its id."
    if child := os.fork():
        return child
    try:
        while path.parent.exists():
            time.sleep(rng.uniform(0, .1))
            if path.exists():
                with contextlib.closing(sqlite3.connect(path, timeout=60)) as db:
                    db.execute('begin exclusive')
                    time.sleep(rng.uniform(0, 1))
                    db.rollback()
    finally:
        os._exit(0)    # what the parent still has to do is not this process's


def with_a_locked_journal(work, folder, rng, whole_s):
    "The journal can't be written to for up to a second at a time."
    holder = holding(folder/'run.sqlite', rng)
    code = finish(work.do, folder)
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    wrong = [] if code == DONE else [f'not through: {said_in(folder)}']
    return 1, wrong + work.wrong(folder, True)


def slowed(do):
    "The same where files below its folder take long to write."
    def slow(folder):
        os.environ['SLOW_UNDER'] = str(folder.resolve())
        do(folder)
    return slow


def on_a_slow_disk(work, folder, rng, whole_s):
    "Killed up to three times, then it ends well."
    slow = Work(slowed(work.do), work.wrong, work.paid)
    count, wrong = killed(slow, folder, rng, whole_s, times=3)
    if finish(slow.do, folder) != DONE:
        wrong.append(f'not through: {said_in(folder)}')
    return count, wrong + work.wrong(folder, True)


EVENTS = dict(kills=killed, disk=on_a_full_disk, clock=with_a_jumping_clock, writers=beside_another, locked=with_a_locked_journal,
              slow=on_a_slow_disk)


def beside_a_slow_disk():
    "This command again behind slow_disk.c, for that event only: how it ended; 0 where it can't be compiled."
    with tempfile.TemporaryDirectory() as tmp:
        library = f'{tmp}/slow_disk.so'
        try:
            subprocess.run(['cc', '-O1', '-shared', '-fPIC', HERE/'slow_disk.c', '-o', library, '-ldl'], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            print('slow: left out, for it needs Linux and a C compiler, cc')
            return 0
        return subprocess.run([sys.executable, *sys.argv, '--slowed'], env=dict(os.environ, LD_PRELOAD=library)).returncode


def one_run(work, folder, event, rng, whole_s):
    "Something happens to it, then it is finished: how often, what was wrong, prompts paid twice beyond what was in flight."
    folder.mkdir()
    before = work.paid(folder) if work.paid else Counter()
    count, wrong = event(work, folder, rng, whole_s)
    if finish(work.do, folder) == DONE:
        wrong += work.wrong(folder, True)
    else:
        wrong.append(f"it can't go on: {said_in(folder)}")
    if not work.paid:
        return count, wrong, 0
    paid = work.paid(folder) - before
    if len(paid) != RECORDS:
        wrong.append(f'{len(paid)} of {RECORDS} prompts were asked')
    twice = sum(n - 1 for n in paid.values())
    return count, wrong, max(0, twice - count*work.in_flight)


def runs_of(name, firsts, runs, seconds):
    "Event -> runs of one work, from its first number, until there are enough or the time is over."
    with tempfile.TemporaryDirectory() as tmp, WORKS[name](Path(tmp)) as work:
        do = slowed(work.do) if 'slow' in firsts else work.do    # that event runs alone
        start = time.perf_counter()
        finish_whole(do, Path(tmp)/'again')
        whole_s = time.perf_counter() - start
        return {event: happened(work, name, event, first, runs, seconds, whole_s, Path(tmp)) for event, first in firsts.items()}


def happened(work, name, event, first, runs, seconds, whole_s, tmp):
    "The same of one event."
    total, start = dict(first=first, runs=0, times=0, wrong=[], doubled=0), time.perf_counter()
    for number in range(first, first + runs):
        folder, rng = tmp/f'{event} {number}', random.Random(f'{name}/{event}/{number}')
        count, wrong, doubled = one_run(work, folder, EVENTS[event], rng, whole_s)
        shutil.rmtree(folder)
        total['runs'] += 1
        total['times'] += count
        total['wrong'] += [f'run {number}: {w}' for w in wrong]
        total['doubled'] += doubled
        if time.perf_counter() - start > seconds:
            break
    return total


# --- all of it, added up

def added(held, new):
    "Runs of a work with these ones among them, and what they come to."
    runs = [r for r in held.get('each', []) if r['first'] != new['first']] + [new]
    total = dict(runs=sum(r['runs'] for r in runs), times=sum(r['times'] for r in runs), wrong=sum(len(r['wrong']) for r in runs),
                 doubled=sum(r['doubled'] for r in runs))
    return total | dict(each=runs)


def next_number(held):
    "The first number that no run has had."
    return max((r['first'] + r['runs'] for r in held.get('each', [])), default=0)


def held_in(file):
    return json.loads(file.read_text(encoding='utf-8')) if file.exists() else {}


def write(file, found):
    file.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')


def packets_into(given):
    "The run with packets dropped, into the file: whether something was wrong."
    with tempfile.TemporaryDirectory() as tmp:
        told = packets(given.prompts//10, Path(tmp))
    print('packets:', json.dumps(told), flush=True)
    write(given.out, held_in(given.out) | dict(packets=told))
    return bool(told['lost'] or told['differences'] or told['bad']['billed_tokens'] > told['bad']['recorded_tokens'])


def main():
    parser = Options(__file__, __doc__)
    parser.add_argument('--only', choices=['faults', 'packets', *EVENTS], action='append', help='default all')
    parser.add_argument('--alone', action='store_true', help=argparse.SUPPRESS)    # in a network of its own already
    parser.add_argument('--slowed', action='store_true', help=argparse.SUPPRESS)    # behind slow_disk.c already
    parser.size('--work', list(WORKS), quick=['predict in batches'], choices=WORKS, help='what is disturbed')
    parser.size('--prompts', 10_000, quick=200, help='of the run with faults')
    parser.add_argument('--share', type=float, default=.3, help='of replies that are wrong')
    parser.add_argument('--first', type=int, help='number of the first run; default goes on behind those in the file')
    parser.size('--runs', 10, quick=1, help='of each work and event, at most')
    parser.add_argument('--seconds', type=float, default=60., help='for each work and event, about')
    given = parser.parse_args()
    if given.alone:
        sys.exit(packets_into(given))
    only, bad = given.only or ['faults', 'packets', *EVENTS], 0
    if 'packets' in only and not given.slowed:
        bad += alone()
    if given.slowed:
        only = ['slow']
    elif 'slow' in only:
        bad += beside_a_slow_disk()
        only = [event for event in only if event != 'slow']
    found = held_in(given.out)
    if 'faults' in only:
        with tempfile.TemporaryDirectory() as tmp:
            told = found['faults'] = faults(given.prompts, given.share, given.first or 0, Path(tmp))
        print('faults:', json.dumps({k: v for k, v in told.items() if k != 'by_kind'}), flush=True)
        write(given.out, found)
        bad += told['lost'] + told['doubled'] + len(told['differences']) + max(0, told['billed_tokens'] - told['recorded_tokens'])
    for name in given.work:
        happens = [e for e in EVENTS if e in only and (e != 'locked' or name.startswith('predict'))]
        held = {event: found.setdefault(event, {}).get(name, {}) for event in happens}
        firsts = {event: next_number(h) if given.first is None else given.first for event, h in held.items()}
        for event, new in runs_of(name, firsts, given.runs, given.seconds).items():
            found[event][name] = added(held[event], new)
            bad += len(new['wrong']) + new['doubled']
            print(f'{event}, {name}:', json.dumps(new), flush=True)
        write(given.out, found)    # what follows takes long, and may be stopped
    sys.exit(bool(bad))


if __name__ == '__main__':
    main()
