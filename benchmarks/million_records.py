"""Do a million respondents, and a million records, fit through a laptop? Made up: 1,000,000 people x 5 items from .parquet to Alpaca JSONL on
disk; then 1,000,000 records from disk, split in halves and scored beside baselines with 100 resamples, in a process of its own.

Run: make bench, or python benchmarks/million_records.py [--n 1000000] [--only score] [--quick]. Writes million_records.json beside itself: seconds and
peak memory."""
import argparse, json, resource, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np, pandas as pd, yaml
from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.records.reading import read_records, write_records
from alignsurvey.records.splits import split_records
from alignsurvey.all import Survey
from options import Options

def survey_folder(folder, n):
    "A made-up survey: three background variables, five items with five options and a tenth missing."
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(dict(id=np.arange(n), age=rng.integers(18, 90, n), sex=rng.integers(1, 3, n), region=rng.integers(1, 9, n), w=rng.gamma(2, size=n)))
    items = {}
    for i in range(5):
        frame[f'q{i}'] = rng.choice([1, 2, 3, 4, 5, 9], n, p=[.1, .2, .3, .2, .1, .1])
        items[f'q{i}'] = dict(question=f'How far do you agree with statement {i}?', scale='ordinal', missing={9: 'dont_know'},
                              options={1: 'disagree strongly', 2: 'disagree', 3: 'neither', 4: 'agree', 5: 'agree strongly'})
    background = dict(age=dict(question='your age', scale='numeric', bins=[18, 30, 60, 90]), sex=dict(question='your sex', options={1: 'male', 2: 'female'}),
                      region=dict(question='your region', options={i: f'region {i}' for i in range(1, 9)}))
    frame.to_parquet(folder/'million.parquet', index=False)
    (folder/'codebook.yaml').write_text(yaml.safe_dump(dict(id='million', respondent_id='id', weight='w', background=background, items=items), sort_keys=False), encoding='utf-8')
    return folder/'million.parquet'


def peak(): return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20, 2)    # GiB at most so far


def write(folder, n):
    "From a survey's file to records on disk."
    path = survey_folder(folder, n)
    start = time.perf_counter()
    records = Survey.load(path).records('response')
    made = time.perf_counter()
    out = write_records(records, folder/'million.jsonl')
    done = time.perf_counter()
    return dict(respondents=n, records=len(records), load_and_build_s=round(made - start, 1), write_s=round(done - made, 1),
                total_s=round(done - start, 1), file_gib=round(out.stat().st_size/2**30, 2), peak_gib=peak())


def score(folder, n):
    "From records on disk to scores of a half that the other half predicts; a random forecast is the model."
    told, laps = {}, [(time.perf_counter(), time.process_time())]
    def lap(what):
        laps.append((time.perf_counter(), time.process_time()))
        told[f'{what}_s'], told[f'{what}_cpu_s'] = (round(now - then, 1) for now, then in zip(laps[-1], laps[-2]))
    records = read_records(folder/'million.jsonl')
    lap('read')
    halves = split_records(records, test=.5)
    lap('split')
    q = np.random.default_rng(1).dirichlet(np.ones(5), len(halves['test']))
    made = pd.DataFrame(dict(record_id=halves['test']['record_id'][:], value=q.argmax(1), probs=list(q), status='ok', elicitation='score'))
    lap('made')
    scores = evaluate(halves['test'], dict(model=made), train=halves['train'], n_boot=100)
    lap('evaluate')
    return dict(records=len(records), **told, scores=len(scores), peak_gib=peak())


def in_a_process(step, folder, n):
    again = [sys.executable, __file__, '--step', step, '--folder', folder, '--n', str(n)]
    return json.loads(subprocess.run(again, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


if __name__ == '__main__':
    given = Options(__file__, __doc__)
    given.size('--n', 1_000_000, quick=20_000)
    given.add_argument('--only', choices=['write', 'score'])
    given.add_argument('--step', choices=['write', 'score'], help=argparse.SUPPRESS); given.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    given = given.parse_args()
    if given.step:
        print(json.dumps(globals()[given.step](given.folder, given.n)))
        sys.exit()
    out = given.out
    found = json.loads(out.read_text(encoding='utf-8')) if out.exists() else {}
    with tempfile.TemporaryDirectory() as tmp:
        if given.only != 'score': found['write'] = in_a_process('write', tmp, given.n)
    with tempfile.TemporaryDirectory() as tmp:
        if given.only != 'write':
            in_a_process('write', tmp, given.n*2//9)    # a tenth of the answers to five items is missing
            found['score'] = in_a_process('score', tmp, given.n)
    out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    print(json.dumps(found, indent=1))
