"""How long do 2,000 resamples take? 10,000 to 40,000 answers, 4 predictors, every score and distance, paired tests and floors: one call of `evaluate`. Two shapes: 16 items a respondent, and
one item of many respondents, where each answer is a cluster of its own.

Run: make bench, or python benchmarks/bootstrap_speed.py [--quick]. Writes bootstrap_speed.json: seconds (of the clock and of the processor) and memory at most."""
import argparse, json, resource, subprocess, sys, time
import numpy as np, pandas as pd
from options import Options


def made_up(people, items):
    from alignsurvey.records.reading import make_records
    rng, options = np.random.default_rng(0), [f'option {k}' for k in range(5)]
    y, w = rng.integers(0, 5, (people, items)), rng.uniform(.5, 2, people)
    records = make_records([dict(task='response', instruction=f'{i} {j}?', output=options[y[i, j]], options=options, answer=options[y[i, j]], answer_index=int(y[i, j]), scale='ordinal', positions=[0., 1., 2., 3., 4.],
        source='made_up', respondent_id=str(i), question_id=f'q{j}', weight=float(w[i])) for i in range(people) for j in range(items)])
    return records, {f'model {m}': pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', elicitation='score', probs=rng.dirichlet(np.ones(5), len(records)).tolist())) for m in range(4)}


def one(answers, items, draws):
    "Seconds and memory of one call, in a process of its own."
    from alignsurvey.evaluation.scoring import evaluate
    records, said = made_up(answers//items, items)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    wall = time.perf_counter()
    rows = evaluate(records, said, baselines=False, n_boot=draws)
    print(json.dumps(dict(answers=len(records), items=items, seconds=round(time.perf_counter() - wall, 2), processor_seconds=round(time.process_time() - start, 2),
        memory_gib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20, 2), before_gib=round(before/2**20, 2), rows=len(rows))))


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--answers', [10_000, 20_000, 40_000], quick=[10_000])
    ask.size('--draws', 2000, quick=200)
    ask.add_argument('--one', type=int, nargs=2, help=argparse.SUPPRESS)
    given = ask.parse_args()
    if given.one: one(*given.one, given.draws); sys.exit()
    again, rows = [sys.executable, __file__, '--draws', str(given.draws), '--one'], []
    for items in (16, 1):
        for n in given.answers: rows.append(json.loads(subprocess.run([*again, str(n), str(items)], capture_output=True, text=True, check=True).stdout))
    given.out.write_text(json.dumps(dict(draws=given.draws, predictors=4, runs=rows), indent=1), encoding='utf-8')
    print(pd.DataFrame(rows).to_string(index=False))
