"""Does a run that stops by itself stop where it should, and does a short sweep find its learning rate?

General Social Survey 2018, three items, the embedded model, the option loss. Each run draws its own respondents: some to train on, as many to validate on, and all others, on whom what
validation chose is scored beside the best step in hindsight. The background is sex and degree alone, so that few prompts are distinct and all others cost no more than the validation.
A run goes to its end; `patience` is applied to its curve afterwards, as `sft` applies it, so that the steps after the stop are known too.
The grid trains the first run's respondents at eight rates. The sweep of `lr='auto'` has two steps a rate, the fewest that it takes; the run that follows it is the
grid's at the rate that it finds, since `sft` trains the same after a sweep as without. Seconds are of a shared machine, so the sweep's are beside those of the
quickest run. Where not all was run yet, `runs` and `rates` say how many of which.
Run: python benchmarks/early_stopping.py [--runs 10] [--rates 1e-5 3e-5 ...] [--quick]. What is done lies under runs/early_stopping, and it goes on there. Writes benchmarks/early_stopping.json."""
import json
import time
from pathlib import Path
import numpy as np
import torch
from alignsurvey.all import Survey, learning_rates, load_model, sft, share_scores
from alignsurvey.models.prefix import shared_option_logprobs
from alignsurvey.training.batches import tokenised
from options import Options

ITEMS, VARIABLES = ['natroad', 'natchld', 'natsci'], ['sex', 'degree']
SETTINGS = dict(loss='option', batch=4, micro=4)
RATES = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
RUNS, USUAL, PATIENCE = 10, 1e-3, (1, 2, 3)


def answers():
    "Everyone's answers; the questions without the words that all of them begin with."
    survey = Survey.load('gss2018')
    lead_in = survey.codebook.items[ITEMS[0]].intro['en']
    records = survey.records('response', items=ITEMS, variables=VARIABLES, answer_form='text', verbose=False)
    return records.map(lambda r: dict(instruction=r['instruction'].replace(lead_in, '')))


def dealt(records, seed, people):
    "Training, validation and all others, by respondent."
    who = np.array(records['respondent_id'][:])
    order = np.random.default_rng(seed).permutation(np.unique(who))
    cuts = np.split(order, [people, 2*people])
    return [records.select(np.flatnonzero(np.isin(who, cut))) for cut in cuts]


def log_scores(lm, records):
    "Log score of each record; a prompt that many share is computed once."
    first = {r['instruction']: r for r in records}
    rows = list(tokenised(lm, first.values(), 'option'))
    options = [r['options'] for r in rows]
    with torch.no_grad():
        found = shared_option_logprobs(lm.model, [r['prompt'] for r in rows], options).float().cpu()
    each = dict(zip(first, found.split(list(map(len, options)))))
    return np.array([-each[r['instruction']].log_softmax(0)[r['answer_index']].item() for r in records])


def mean(scores, records):
    return float(np.average(scores, weights=records['weight'][:]))


def trained(lm, parts, folder, steps, every, seed, lr):
    "Scores of validation and of others at each validation, and the seconds that they and the steps took."
    file = folder/'run.json'
    if file.exists():
        return json.loads(file.read_text(encoding='utf-8'))
    train, validation, others = parts
    curve, both = [], list(validation) + list(others)

    def validate(now):
        scores, n = log_scores(now, both), len(validation)
        curve.append(dict(step=int(now.adapter.split()[-1]), validation=mean(scores[:n], validation), others=mean(scores[n:], others)))
        return curve[-1]['validation']

    start = time.perf_counter()
    epochs = steps/-(-len(train)//SETTINGS['batch'])
    sft(lm, train, folder/'adapter', validate=validate, validate_every=every, overwrite=True, lr=lr, epochs=epochs, seed=seed, **SETTINGS)
    table = dict(others=mean(share_scores(train, others), others), validation=mean(share_scores(train, validation), validation))
    found = dict(seed=seed, lr=lr, seconds=time.perf_counter() - start, answers=list(map(len, parts)), curve=curve, training_shares=table)
    file.write_text(json.dumps(found), encoding='utf-8')
    return found


def stopped(scores, patience):
    "The validation that a run keeps which ends after so many without a better one, and the one at which it ends."
    best = 0
    for i, score in enumerate(scores):
        if score < scores[best]:
            best = i
        if i - best == patience:
            break
    return best, i


def beside_hindsight(run):
    "What each patience keeps, beside the best step for others."
    scores, others = ([point[of] for point in run['curve']] for of in ('validation', 'others'))
    steps = [point['step'] for point in run['curve']]
    row = dict(seed=run['seed'], best_step=steps[int(np.argmin(others))], best=min(others), last=others[-1], training_shares=run['training_shares']['others'])
    for patience in PATIENCE:
        kept, end = stopped(scores, patience)
        row[f'patience_{patience}'] = dict(step=steps[kept], ended=steps[end], others=others[kept], gap=others[kept] - min(others))
    return row


def patience_gaps(rows):
    "Gaps of each patience over some runs."
    gaps = {p: np.array([row[f'patience_{p}']['gap'] for row in rows]) for p in PATIENCE}
    return {f'patience_{p}': dict(mean_gap=float(gap.mean()), largest_gap=float(gap.max()), within_003=int((gap <= .003).sum())) for p, gap in gaps.items()}


def swept(lm, parts, folder, seed):
    "What the sweep of `lr='auto'` finds for the first run's respondents."
    file = folder/'sweep.json'
    if not file.exists():
        start, (train, validation, _) = time.perf_counter(), parts
        found = learning_rates(lm, train, validation, steps=2, seed=seed, **SETTINGS)
        told = dict(found.attrs, seconds=time.perf_counter() - start, table=found.to_dict('records'))
        file.write_text(json.dumps(told), encoding='utf-8')
    return json.loads(file.read_text(encoding='utf-8'))


def beside_grid(runs, sweep):
    "Scores for others of what each rate's run keeps, and where the rate of the sweep stands among them."
    rows = [dict(lr=run['lr'], seconds=run['seconds'], **kept(run)) for run in sorted(runs, key=lambda run: run['lr'])]
    best = min(rows, key=lambda row: row['others'])
    own = next((row for row in rows if row['lr'] == sweep['best']), None)
    found = dict(rates=len(rows), rates_of=RATES, grid=rows, best=best['lr'], sweep=sweep)
    if own:
        found |= dict(gap=own['others'] - best['others'], share_of_training_time=sweep['seconds']/min(row['seconds'] for row in rows))
    return found


def kept(run):
    "The step that a run keeps that is validated to its end."
    return min(run['curve'], key=lambda point: point['validation'])


def report(runs, sweep, file, given):
    "Write what is there so far."
    seeds, grid = [r for r in runs if r['lr'] == USUAL], [r for r in runs if r['seed'] == 0]
    rows = [beside_hindsight(run) for run in seeds]
    done = dict(people=given.people, steps=given.steps, validate_every=given.every, items=ITEMS, background=VARIABLES, **SETTINGS,
        early_stopping=dict(runs=len(rows), runs_of=RUNS, lr=USUAL, answers=runs[0]['answers'], **patience_gaps(rows), each=rows))
    if sweep:
        done |= dict(learning_rate=beside_grid(grid, sweep), early_stopping_over_the_grid=dict(runs=len(grid), **patience_gaps(list(map(beside_hindsight, grid)))))
    file.write_text(json.dumps(done, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--runs', RUNS, quick=1, help='draws of respondents')
    ask.size('--rates', RATES, quick=[1e-4])
    ask.size('--people', 60, quick=4, help='training respondents, and as many to validate on')
    ask.size('--steps', 40, quick=2)
    ask.size('--every', 5, quick=1, help='steps between validations')
    given = ask.parse_args()
    folder = given.out.parent/'runs' if given.quick else Path('runs/early_stopping')
    lm, records, done, sweep = load_model(), answers(), [], None
    jobs = [(0, USUAL)] + [(0, lr) for lr in given.rates if lr != USUAL] + [(seed, USUAL) for seed in range(1, given.runs)]
    for seed, lr in jobs:
        parts = dealt(records, seed, given.people)
        done.append(trained(lm, parts, folder/f'{seed}-{lr:g}', given.steps, given.every, seed, lr))
        sweep = sweep or swept(lm, parts, folder, seed)
        report(done, sweep, given.out, given)
        print(len(done), seed, lr, kept(done[-1]), flush=True)
