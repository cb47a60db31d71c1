"""Do ten million predictions fit through a laptop? Made-up people with ten items each, in partitions: half of the records written and the rest added, asked by two processes, one of which is killed
in the middle and started anew, and scored.

Who is asked draws probabilities by lot, so that the time is that of everything but a model: reading, journals, predictions and their cards.
Run: python benchmarks/partitions.py [--records 100000 1000000 10000000] [--quick]. Writes partitions.json after each size: seconds (of the clock, and of processors, without those of the process that is killed), the memory of the largest process
and the size of the folders. Whether predictions were lost or given twice is checked each time."""
import argparse, json, resource, signal, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.compute as pc
from datasets import Dataset
from alignsurvey.evaluation import evaluate_partitions
from alignsurvey.prediction import Predictor, list_partitions, predict_partitions, write_partitions
from alignsurvey.records.reading import make_records
from options import Options

ITEMS, OPTIONS = 10, ['disagree strongly', 'disagree', 'neither', 'agree', 'agree strongly']


def made_up(first, n, size):
    "Records in sets of so many, the first of them with this number."
    some = [dict(instruction=f'Statement {j}?', options=OPTIONS, output=OPTIONS[0], answer_index=0, answer_form='text', scale='ordinal', positions=[0., 1., 2., 3., 4.],
        source='made_up', respondent_id='p', question_id=f'q{j}') for j in range(ITEMS)]
    ten = make_records(some).with_format('arrow')[:]
    for start in range(first, first + n, size):
        number = np.arange(start, min(start + size, first + n))
        table = ten.take(pa.array(number % ITEMS))
        rng = np.random.default_rng(start)
        at = rng.integers(5, size=len(number))
        who = pc.binary_join_element_wise('p', pa.array(number//ITEMS).cast(pa.string()), '')
        answer = pa.array(OPTIONS).take(pa.array(at))
        new = dict(record_id=pc.binary_join_element_wise(who, table['question_id'], '/'), respondent_id=who, answer=answer, output=answer, answer_index=pa.array(at),
            weight=pa.array(np.random.default_rng(1).uniform(.5, 2, 1000)[number//ITEMS % 1000]),
            instruction=pc.binary_join_element_wise('You are ', who, '. ', table['instruction'], ''))
        for name, column in new.items(): table = table.set_column(table.column_names.index(name), name, column)
        yield Dataset(table)


class Lot(Predictor):
    "Probabilities by lot, a thousand at a time."
    by_record = True

    def settings(self, elicitation, how): return [elicitation, 'lot']

    def card(self): return dict(model='lot')

    def plan(self, records): return [range(i, min(i + 1000, len(records))) for i in range(0, len(records), 1000)]

    def collect(self, records, keys, batches, elicitation, log, run, how):
        known = log.answered(keys)
        for rows in batches:
            new = [keys[i] for i in rows if keys[i] not in known]
            probs = np.random.default_rng(rows[0]).dirichlet(np.ones(5), len(new))
            log.add({k: dict(value=int(p.argmax()), probs=p.tolist(), coverage=1., status='ok') for k, p in zip(new, probs)}, run)


def used(who=resource.RUSAGE_SELF):
    found = resource.getrusage(who)
    return found.ru_utime + found.ru_stime, found.ru_maxrss/2**20


def write(folder, n, size):
    for name, first in (('first', 0), ('second', n//2)):
        write_partitions(made_up(first, n//2, size), folder/'records', name=name, size=size)
    return {}


def ask(folder, n, size): return predict_partitions(Lot(), folder/'records', folder/'said')


def score(folder, n, size):
    table = evaluate_partitions(folder/'records', {'lot': folder/'said'})
    brier = table[(table.metric == 'brier') & table.question_id.isna()].iloc[0]
    assert brier.n == n, (brier.n, n)    # none lost, none twice
    return dict(scores=len(table), brier=round(brier.value, 5), ci_low=round(brier.ci_low, 5), ci_high=round(brier.ci_high, 5))


def started(step, folder, n, size):
    return subprocess.Popen([sys.executable, __file__, '--step', step, '--folder', folder, '--records', str(n), '--size', str(size)], stdout=subprocess.PIPE, text=True)


def told(process):
    said, _ = process.communicate()
    assert process.returncode == 0, process.returncode
    return json.loads(said.splitlines()[-1])


def timed(step, folder, n, size):
    "One step in a process of its own."
    start = time.perf_counter()
    found = told(started(step, folder, n, size))
    return dict(found, seconds=round(time.perf_counter() - start, 1))


def by_two(folder, n, size):
    "Two processes, one of which is killed in the middle of its work and started anew."
    start, half = time.perf_counter(), len(list_partitions(folder/'records'))/2
    first, second = started('ask', folder, n, size), started('ask', folder, n, size)
    while len(list((folder/'said').glob('*.parquet'))) < half: time.sleep(.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    left = sum(p.with_suffix('.sqlite').exists() or not (folder/'said'/p.name).exists() for p in list_partitions(folder/'records'))
    found = [told(started('ask', folder, n, size)), told(second)]
    assert not list((folder/'said').glob('*.sqlite')), 'a partition is not finished'
    return dict(killed_with_partitions_left=left, cpu_s=round(sum(f['cpu_s'] for f in found), 1), peak_gib=max(f['peak_gib'] for f in found), seconds=round(time.perf_counter() - start, 1))


def gib(folder): return round(sum(p.stat().st_size for p in folder.iterdir())/2**30, 3)


def one_size(n, size):
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        found = dict(records=n, write=timed('write', folder, n, size), partitions=len(list_partitions(folder/'records')), ask=by_two(folder, n, size), score=timed('score', folder, n, size))
        return found | dict(records_gib=gib(folder/'records'), predictions_gib=gib(folder/'said'))


def main():
    options = Options(__file__, __doc__)
    options.size('--records', [100_000, 1_000_000, 10_000_000], quick=[20_000])
    options.size('--size', 100_000, quick=5000, help='records of a partition')
    options.add_argument('--step', choices=['write', 'ask', 'score'], help=argparse.SUPPRESS)
    options.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.step:
        found = globals()[given.step](given.folder, given.records[0], given.size)
        cpu, peak = used()
        return print(json.dumps(dict(found, cpu_s=round(cpu, 1), peak_gib=round(peak, 2))))
    found = []
    for n in given.records:
        found.append(one_size(n, given.size))
        given.out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
        print(json.dumps(found[-1], indent=1), flush=True)


if __name__ == '__main__': main()
