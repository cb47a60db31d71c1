"""Planted experiments: is the miss of a model's effect estimated without bias, does its interval hold the truth, and is a model within a margin only where it is?

An effect of -.5 steps of a three-point scale in people, asked in two arms, in a simple sample of 400 and in 40 clusters (correlation within .05) with weights (cv 1).
Models: one that has people's chances in both arms, one with half of the effect, and one that is off by just the margin of .2, each respondent asked
in their own arm; and one with people's effect that leans to one side with each respondent, asked in their own arm and in both.
And a conjoint: two profiles of two attributes to each respondent, with weights; the effect of the price, -.3 in people, and that of models on the same profiles.
Run: python benchmarks/experiments.py [--replications 500] [--quick]. Writes benchmarks/experiments.json."""
import json

import datasets
import numpy as np
import pandas as pd
from scipy.stats import norm

from alignsurvey.evaluation import conjoint_effects, experiment_effects, in_other_arms
from alignsurvey.records.reading import join_records, make_records
from options import Options

ARMS, PEOPLE, MARGIN, SEED = ['poor', 'welfare'], 400, .2, 0
CHANCES = np.array([[.15, .3, .55], [.35, .4, .25]])
MEANS = CHANCES @ np.arange(3)


def moved(by):
    "Chances in the second arm of a model whose effect is off by so much."
    p = CHANCES[1].copy()
    return p + np.array([-by/2, 0, by/2])


MODELS = {'right': (moved(0), 0.), 'half of the effect': (moved(.25), .25), 'off by the margin': (moved(MARGIN), MARGIN)}
LEANING, LEAN = 'right, and leans with each', .14


def answers(rng, clusters):
    "Arm, answer, cluster and weight of each person; members of a cluster lean the same way."
    arm = rng.permutation(np.arange(PEOPLE) % 2)
    psu = np.arange(PEOPLE) if clusters is None else np.arange(PEOPLE)*clusters//PEOPLE
    within = .05 if clusters else 0.
    lean = np.sqrt(within)*rng.normal(size=psu.max() + 1)[psu] + np.sqrt(1 - within)*rng.normal(size=PEOPLE)
    y = (norm.cdf(lean)[:, None] > CHANCES[arm].cumsum(1)[:, :-1]).sum(1)
    sigma = np.sqrt(np.log(2)) if clusters else 0.
    return arm, y, psu, rng.lognormal(sigma=sigma, size=PEOPLE)


def study(rng, clusters):
    arm, y, psu, weight = answers(rng, clusters)
    shared = dict(task='response', level='individual', source='made_up', instruction='?', question='?', answer_form='text', options=list('abc'), scale='ordinal', positions=[0., 1., 2.])
    return make_records([dict(shared, output='abc'[v], answer_index=int(v), respondent_id=str(i), question_id=ARMS[a], psu=str(c) if clusters else None, weight=float(w))
        for i, (a, v, c, w) in enumerate(zip(arm, y, psu, weight))])


def said(records, second):
    probs = [list(CHANCES[0] if name == ARMS[0] else second) for name in records['question_id'][:]]
    return pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', probs=probs, elicitation='score'))


def leaning(records):
    "People's chances, moved to one side by half of the people."
    probs = [list(CHANCES[ARMS.index(name)] + (-1)**int(i)*np.array([LEAN, 0, -LEAN])) for name, i in zip(records['question_id'][:], records['respondent_id'][:])]
    return pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', probs=probs, elicitation='score'))


def in_own_arms(records, seed):
    "What is found where each respondent is asked in their own arm."
    frames = {name: said(records, second) for name, (second, _) in MODELS.items()}
    return experiment_effects(records, frames, ARMS, margin=MARGIN, n_boot=200, seed=seed)


def in_both_arms(records, seed):
    "The same of a model that leans with each respondent, asked in their own arm and in both."
    others = in_other_arms(records, ARMS)
    frames = {LEANING: leaning(join_records(records, others))}
    found = experiment_effects(records, frames, ARMS, others=others, margin=MARGIN, n_boot=200, seed=seed)
    return found[found.predictor == LEANING]


def replicated(clusters, replications, find=(in_own_arms, in_both_arms)):
    rows = []
    for i in range(replications):
        records = study(np.random.default_rng([SEED, i, clusters or 0]), clusters)
        rows += [f(records, i).assign(replication=i) for f in find]
    return pd.concat(rows)


def summary(found, clusters, replications):
    asked = [(name, 'effect', 'own arm', *model) for name, model in MODELS.items()]
    asked += [(LEANING, kind, arms, *MODELS['right']) for kind, arms in (('effect', 'own arm'), ('effect_both', 'both arms'))]
    for name, kind, arms, second, truth in asked:
        own = found[found.predictor == name]
        miss, within = own[own.metric == f'{kind}_miss'], own[own.metric == f'{kind}_within']
        off = miss.value - (second @ np.arange(3) - MEANS[1])
        yield dict(design='40 clusters, weights' if clusters else 'simple sample', truth=name, asked=arms, replications=replications, seed=SEED, miss=truth, error=off.mean(), error_se=off.std()/np.sqrt(replications),
            coverage=float(((miss.ci_low <= truth) & (truth <= miss.ci_high)).mean()), shown_off=float((miss.p_adj < .05).mean()), called_within=float((within.p_adj < .05).mean()))


PRICES, MAKERS, DROP = ['low', 'high'], ['firm', 'state', 'friends'], .15    # of the chance of each of two steps
ATTRIBUTES = {name: dict(columns=[], levels={i: {'en': text} for i, text in enumerate(texts)}) for name, texts in dict(price=PRICES, maker=MAKERS).items()}
SHOPPERS = {"people's effect": (None, -2*DROP), 'right': (DROP, 0.), 'half of the effect': (DROP/2, DROP), 'off by the margin': (DROP - MARGIN/2, MARGIN)}


def profiles(rng):
    "Two ratings of each person, who lean one way in both, of profiles drawn by lot."
    rows = []
    for i, (lean, weight) in enumerate(zip(rng.normal(0, .08, PEOPLE), rng.lognormal(sigma=np.sqrt(np.log(2)), size=PEOPLE))):
        for j in range(2):
            high, maker = int(rng.integers(2)), int(rng.integers(3))
            y = int(rng.binomial(2, np.clip(.55 - DROP*high + .1*(maker == 2) + lean, 0, 1)))
            rows.append(dict(task='response', level='individual', source='made_up', instruction='?', question='?', lang='en', answer_form='text', options=list('abc'),
                scale='ordinal', positions=[0., 1., 2.], output='abc'[y], answer_index=y, respondent_id=str(i), question_id=f'buy{j}', weight=float(weight),
                groups=dict(price=PRICES[high], maker=MAKERS[maker])))
    return make_records(rows)


def shopping(records, drop):
    "Two draws of a chance that a high price lowers by so much."
    chance = [.55 - drop*(g['price'] == 'high') for g in records['groups'][:]]
    return pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', probs=[[(1 - p)**2, 2*p*(1 - p), p**2] for p in chance], elicitation='score'))


def conjoint(replications):
    "Rows as of the other experiments, of the effect of the price."
    found = []
    for i in range(replications):
        records = profiles(np.random.default_rng([SEED, i]))
        frames = {name: shopping(records, drop) for name, (drop, _) in SHOPPERS.items() if drop is not None}
        found.append(conjoint_effects(records, frames, ATTRIBUTES, margin=MARGIN).query('group == "price"'))
    found = pd.concat(found)
    for name, (drop, truth) in SHOPPERS.items():
        own = found[found.predictor == ('people' if drop is None else name)]
        miss, within = own[own.metric == ('effect' if drop is None else 'effect_miss')], own[own.metric == 'effect_within']
        off = miss.value - truth
        yield dict(design='conjoint, 2 profiles, weights', truth=name, asked='own profile', replications=replications, seed=SEED, miss=truth, error=off.mean(), error_se=off.std()/np.sqrt(replications),
            coverage=float(((miss.ci_low <= truth) & (truth <= miss.ci_high)).mean()), shown_off=float((miss.p_adj < .05).mean()), called_within=None if drop is None else float((within.p_adj < .05).mean()))


def main():
    ask = Options(__file__, __doc__)
    ask.size('--replications', 500, quick=20)
    args = ask.parse_args()
    datasets.disable_progress_bars()
    n = args.replications
    rows = [row for clusters in (None, 40) for row in summary(replicated(clusters, n), clusters, n)]
    rows += conjoint(n)
    print(pd.DataFrame(rows).round(3).to_string())
    args.out.write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
