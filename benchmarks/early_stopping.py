"""Does a run that stops by itself stop where it should? Does a short sweep find the learning rate?

General Social Survey 2018, three items, the embedded model, the option loss. Each run draws its
own respondents: some to train on, as many to validate on, and all others, on whom what validation
chose is scored beside the best step in hindsight. The background is sex and degree alone, so that
few prompts are distinct and all others cost no more than the validation.
A run goes to its end; `patience` is applied to its curve afterwards, as `sft` applies it, so that
the steps after the stop are known too. It counts from the first validation on, or only those in
the second half of the run, when the learning rate has come down.
The grid trains the first run's respondents at eight rates. The sweep of `lr='auto'` has two steps
a rate, the fewest that it takes; the run that follows it is the grid's at the rate that it finds,
since `sft` trains the same after a sweep as without. Seconds are of a shared machine, so the
sweep's are beside those of the quickest run. Where not all was run yet, `runs` and `rates` say how
many of which.
Run: python benchmarks/early_stopping.py [--runs 10] [--rates 1e-5 3e-5 ...] [--quick].
What is done lies under runs/early_stopping, and it goes on there.
Writes benchmarks/early_stopping.json."""
import json
import math
import time
from pathlib import Path
import numpy as np
import torch
from alignsurvey.all import Survey, learning_rates, load_model, sft, share_scores
from alignsurvey.models.prefix import shared_option_logprobs
from alignsurvey.training.batches import tokenised
from options import Options

ITEMS = ['natroad', 'natchld', 'natsci']
VARIABLES = ['sex', 'degree']
SETTINGS = dict(loss='option', batch=4, micro=4)
RATES = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
USUAL = 1e-3    # the rate of all draws of respondents
RUNS = 10
# name -> (validations without a better one that end a run, share of the run before they count)
RULES = {f'patience_{n}': (n, 0) for n in (1, 2, 3, 4)}
RULES |= {f'patience_{n}_second_half': (n, .5) for n in (1, 2, 3)}
RULES |= {'to_the_end': (None, 0)}


def answers():
    "Everyone's answers; the questions without the words that all of them begin with."
    survey = Survey.load('gss2018')
    lead_in = survey.codebook.items[ITEMS[0]].intro['en']
    records = survey.records('response', items=ITEMS, variables=VARIABLES, answer_form='text',
        verbose=False)
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
    prompts = [r['prompt'] for r in rows]
    options = [r['options'] for r in rows]
    with torch.no_grad():
        found = shared_option_logprobs(lm.model, prompts, options).float().cpu()
    each = dict(zip(first, found.split(list(map(len, options)))))
    scores = []
    for r in records:
        logp = each[r['instruction']].log_softmax(0)
        scores.append(-logp[r['answer_index']].item())
    return np.array(scores)


def mean(scores, records):
    "By the survey's weights."
    return float(np.average(scores, weights=records['weight'][:]))


def once(file, compute, *given):
    "What a file keeps; where there is none, it is computed and kept."
    if not file.exists():
        file.write_text(json.dumps(compute(*given)), encoding='utf-8')
    return json.loads(file.read_text(encoding='utf-8'))


def trained(lm, parts, folder, given, seed, lr):
    "A run's scores of validation and of all others at each validation, and the seconds of it all."
    train, validation, others = parts
    both = list(validation) + list(others)
    curve = []

    def validate(now):
        scores = log_scores(now, both)
        point = dict(step=int(now.adapter.split()[-1]),
            validation=mean(scores[:len(validation)], validation),
            others=mean(scores[len(validation):], others))
        curve.append(point)
        return point['validation']

    start = time.perf_counter()
    epochs = given.steps/math.ceil(len(train)/SETTINGS['batch'])
    sft(lm, train, folder/'adapter', validate=validate, validate_every=given.every, overwrite=True,
        lr=lr, epochs=epochs, seed=seed, **SETTINGS)
    table = dict(others=mean(share_scores(train, others), others),
        validation=mean(share_scores(train, validation), validation))
    return dict(seed=seed, lr=lr, seconds=time.perf_counter() - start,
        answers=list(map(len, parts)), curve=curve, training_shares=table)


def swept(lm, parts, seed):
    "What the sweep of `lr='auto'` finds."
    train, validation, _ = parts
    start = time.perf_counter()
    found = learning_rates(lm, train, validation, steps=2, seed=seed, **SETTINGS)
    return dict(found.attrs, seconds=time.perf_counter() - start, table=found.to_dict('records'))


def kept(run):
    "The step that a run keeps that is validated to its end."
    return min(run['curve'], key=lambda point: point['validation'])


def stopped(curve, patience, since):
    "The point that a run keeps which ends after so many without a better one, and where it ends."
    first = since*curve[-1]['step']
    best, waited = curve[0], 0
    for point in curve[1:]:
        if point['validation'] < best['validation']:
            best, waited = point, 0
        else:
            waited += point['step'] > first
        if waited == patience:
            break
    return best, point


def beside_hindsight(run):
    "What each patience keeps, beside the best step for others."
    curve = run['curve']
    best = min(curve, key=lambda point: point['others'])
    row = dict(seed=run['seed'], best_step=best['step'], best=best['others'],
        last=curve[-1]['others'], training_shares=run['training_shares']['others'])
    for name, rule in RULES.items():
        own, end = stopped(curve, *rule)
        row[name] = dict(step=own['step'], ended=end['step'],
            others=own['others'], gap=own['others'] - best['others'])
    return row


def rule_gaps(rows, steps):
    "Gaps of each rule over some runs, and the share of the steps that it takes."
    found = {}
    for name in RULES:
        gaps = np.array([row[name]['gap'] for row in rows])
        ended = np.array([row[name]['ended'] for row in rows])
        found[name] = dict(mean_gap=float(gaps.mean()), largest_gap=float(gaps.max()),
            within_003=int((gaps <= .003).sum()), steps_taken=float(ended.mean()/steps))
    return found


def beside_grid(runs, sweep):
    "Scores for others of what each rate's run keeps, and where the rate of the sweep stands."
    by_rate = sorted(runs, key=lambda run: run['lr'])
    rows = [dict(lr=run['lr'], seconds=run['seconds'], **kept(run)) for run in by_rate]
    best = min(rows, key=lambda row: row['others'])
    found = dict(rates=len(rows), rates_of=RATES, grid=rows, best=best['lr'], sweep=sweep)
    quickest = min(row['seconds'] for row in rows)
    for row in rows:
        if row['lr'] == sweep['best']:
            found['gap'] = row['others'] - best['others']
            found['share_of_training_time'] = sweep['seconds']/quickest
    return found


def report(runs, sweep, given):
    "Write what is there so far."
    draws = [beside_hindsight(run) for run in runs if run['lr'] == USUAL]
    grid = [run for run in runs if run['seed'] == 0]
    grid_gaps = rule_gaps([beside_hindsight(run) for run in grid], given.steps)
    done = dict(people=given.people, steps=given.steps, validate_every=given.every, items=ITEMS,
        background=VARIABLES, **SETTINGS,
        early_stopping=dict(runs=len(draws), runs_of=RUNS, lr=USUAL, answers=runs[0]['answers'],
            **rule_gaps(draws, given.steps), each=draws),
        learning_rate=beside_grid(grid, sweep),
        early_stopping_over_the_grid=dict(runs=len(grid), **grid_gaps))
    given.out.write_text(json.dumps(done, indent=1) + '\n', encoding='utf-8')


def jobs(given):
    "Seed and rate of each run: the first respondents at all rates, then others at the usual one."
    rates = [USUAL] + [lr for lr in given.rates if lr != USUAL]
    return [(0, lr) for lr in rates] + [(seed, USUAL) for seed in range(1, given.runs)]


def run_all(lm, folder, given):
    "Every run, and after the first one the sweep; a report after each."
    records = answers()
    done = []
    for seed, lr in jobs(given):
        parts = dealt(records, seed, given.people)
        own = folder/f'{seed}-{lr:g}'
        run = once(own/'run.json', trained, lm, parts, own, given, seed, lr)
        if not done:
            sweep = once(folder/'sweep.json', swept, lm, parts, seed)
        done.append(run)
        report(done, sweep, given)
        print(len(done), seed, lr, kept(run), flush=True)


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--runs', RUNS, quick=1, help='draws of respondents')
    ask.size('--rates', RATES, quick=[1e-4])
    ask.size('--people', 60, quick=4, help='training respondents, and as many to validate on')
    ask.size('--steps', 40, quick=2)
    ask.size('--every', 5, quick=1, help='steps between validations')
    given = ask.parse_args()
    folder = given.out.parent/'runs' if given.quick else Path('runs/early_stopping')
    run_all(load_model(), folder, given)
