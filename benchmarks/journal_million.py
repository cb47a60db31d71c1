"""Does a journal of 1,000,000 predictions stay quick and small? Written in batches of 128, opened again in a new process, asked what it holds, exported.

Run: make bench, or python benchmarks/journal_million.py [--n 1000000] [--quick]. Writes journal_million.json beside itself: seconds, memory and
the time of an append as the journal grows."""
import argparse, hashlib, json, resource, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np
from alignsurvey.prediction.journal import Journal
from alignsurvey.prediction.elicitation import read_run
from alignsurvey.prediction.predictions import write_predictions
from options import Options

BATCH, EVERY = 128, 100_000


def memory(): return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**10)    # MiB at most so far


def keys(n): return (hashlib.sha256(str(i).encode()).hexdigest()[:32] for i in range(n))


def write(path, n):
    "Median milliseconds of an append of a batch, for each hundred thousand answers."
    log, rng, names, took = Journal(path), np.random.default_rng(0), list(keys(n)), []
    card = dict(model='made up', elicitation='score', sources=['made up'], total=n, before=0)
    start = time.perf_counter()
    log.begin('million', card, ((i, f'made_up/{i//10}/q{i % 10}', k, 5) for i, k in enumerate(names)))
    began = time.perf_counter() - start
    for i in range(0, n, BATCH):
        probs = rng.dirichlet(np.ones(5), BATCH)
        batch = {k: dict(value=int(p.argmax()), probs=p.tolist(), coverage=.9, status='ok', tokens=412, seconds=.0123)
                 for k, p in zip(names[i:i + BATCH], probs)}
        start = time.perf_counter()
        log.add(batch, 'million')
        took.append(time.perf_counter() - start)
    per = EVERY//BATCH
    medians = [round(1000*float(np.median(took[i:i + per])), 2) for i in range(0, len(took) - per//2, per)]
    return dict(begin_s=round(began, 1), append_ms=medians, file_mib=round(path.stat().st_size/2**20))


def resume(path, n):
    "What a run that goes on does first: open, begin, and see what is answered."
    before, start = memory(), time.perf_counter()
    log = Journal(path)
    opened, names = time.perf_counter(), list(keys(n))
    log.begin('million', dict(sources=['made up']), ((i, f'made_up/{i//10}/q{i % 10}', k, 5) for i, k in enumerate(names)))
    assert len(log.answered(names)) == n
    return dict(open_s=round(opened - start, 3), ready_s=round(time.perf_counter() - start, 1), python_mib=before, peak_mib=memory())


def export(path, n):
    before, start = memory(), time.perf_counter()
    frame = read_run(path)
    read = time.perf_counter() - start
    write_predictions(frame, path.with_suffix('.parquet'))
    assert len(frame) == n
    return dict(read_s=round(read, 1), total_s=round(time.perf_counter() - start, 1), python_mib=before, peak_mib=memory())


if __name__ == '__main__':
    given = Options(__file__, __doc__)
    given.size('--n', 1_000_000, quick=100_000)
    given.add_argument('--step', choices=['resume', 'export'], help=argparse.SUPPRESS); given.add_argument('--path', type=Path, help=argparse.SUPPRESS)
    given = given.parse_args()
    if given.step: print(json.dumps(globals()[given.step](given.path, given.n))); sys.exit()
    with tempfile.TemporaryDirectory() as tmp:
        path = Path(tmp)/'million.sqlite'
        found = dict(predictions=given.n, write=write(path, given.n))
        for step in 'resume', 'export':
            again = [sys.executable, __file__, '--step', step, '--path', path, '--n', str(given.n)]
            found[step] = json.loads(subprocess.run(again, capture_output=True, text=True, check=True).stdout)
    given.out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    print(json.dumps(found, indent=1))
