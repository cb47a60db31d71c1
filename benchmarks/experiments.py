"""Planted experiments: is the miss of a model's effect estimated without bias, does its interval hold the truth, and is a model within a margin only where it is?

An effect of -.5 steps of a three-point scale in people, asked in two arms, in a simple sample of 400 and in 40 clusters (correlation within .05) with weights (cv 1).
Models: one that has people's chances in both arms, one with half of the effect, and one that is off by just the margin of .2, each respondent asked
in their own arm; and one with people's effect that leans to one side with each respondent, asked in their own arm and in both.
And conjoints: two profiles of two attributes to each respondent, with weights, rated one by one or chosen from side by side; the effect of the price, -.3 in people, and that of models on the same profiles.
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


PRICES, MAKERS, DROP = ['low', 'high'], ['firm', 'state', 'friends'], .3    # the effect of the price is -DROP
LEVELS = {name: {i: {'en': text} for i, text in enumerate(texts)} for name, texts in dict(price=PRICES, maker=MAKERS).items()}
SHOPPERS = {"people's effect": (None, -DROP), 'right': (DROP, 0.), 'half of the effect': (DROP/2, DROP/2), 'off by the margin': (DROP - MARGIN, MARGIN)}


def record(i, j, y, weight, groups, options, **more):
    return dict(task='response', level='individual', source='made_up', instruction='?', question='?', lang='en', answer_form='text', options=options, output=options[y], answer_index=y,
        respondent_id=str(i), question_id=f'buy{j}', weight=float(weight), groups=groups, **more)


def everyone(rng, sd):
    "Number, leaning and weight of each person."
    return zip(range(PEOPLE), rng.normal(0, sd, PEOPLE), rng.lognormal(sigma=np.sqrt(np.log(2)), size=PEOPLE))


def drawn(rng):
    return dict(price=PRICES[rng.integers(2)], maker=MAKERS[rng.integers(3)])


def liking(shown, drop=DROP, maker=.2):
    "How much a profile is above others, on a scale of two."
    return maker*(shown['maker'] == 'friends') - drop*(shown['price'] == 'high')


def of_two_steps(p):
    return [(1 - p)**2, 2*p*(1 - p), p**2]


def rated(rng):
    "Two ratings of each person, who lean one way in both, of profiles drawn by lot."
    for i, lean, weight in everyone(rng, .08):
        for j in range(2):
            shown = drawn(rng)
            y = rng.choice(3, p=of_two_steps(np.clip(.55 + liking(shown)/2 + lean, 0, 1)))
            yield record(i, j, int(y), weight, shown, list('abc'), scale='ordinal', positions=[0., 1., 2.])


def chosen(rng):
    "Two choices of each person between two profiles; who leans takes the first one more often."
    for i, lean, weight in everyone(rng, .03):
        for j in range(2):
            sides = [drawn(rng), drawn(rng)]
            first = .5 + liking(sides[0], maker=.1) - liking(sides[1], maker=.1) + lean
            shown = {f'{name}_{k}': level for k, side in enumerate(sides, 1) for name, level in side.items()}
            yield record(i, j, int(rng.random() > first), weight, shown, list('ab'), scale='nominal', positions=None)


def rating(groups, drop):
    return of_two_steps(.55 + liking(groups, drop, maker=0)/2)


def choosing(groups, drop):
    first, second = (liking(dict(price=groups[f'price_{k}'], maker=''), drop) for k in (1, 2))
    return [.5 + first - second, .5 - first + second]


CONJOINTS = {'conjoint, 2 profiles, weights': (rated, rating, dict(price=['p'], maker=['m']), None),
    'conjoint, 2 choices of 2, weights': (chosen, choosing, dict(price=[['p1', 'p2']], maker=[['m1', 'm2']]), ['a', 'b'])}


def conjoint(design, replications):
    "Rows as of the other experiments, of the effect of the price."
    people, model, columns, option = CONJOINTS[design]
    attributes, found = {name: dict(columns=columns[name], levels=levels) for name, levels in LEVELS.items()}, []
    for i in range(replications):
        records = make_records(list(people(np.random.default_rng([SEED, i]))))
        groups = records['groups'][:]
        frames = {name: pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', probs=[model(g, drop) for g in groups], elicitation='score'))
            for name, (drop, _) in SHOPPERS.items() if drop is not None}
        found.append(conjoint_effects(records, frames, attributes, option=option, margin=MARGIN).query('group == "price"'))
    found = pd.concat(found)
    for name, (drop, truth) in SHOPPERS.items():
        own = found[found.predictor == ('people' if drop is None else name)]
        miss, within = own[own.metric == ('effect' if drop is None else 'effect_miss')], own[own.metric == 'effect_within']
        off = miss.value - truth
        yield dict(design=design, truth=name, asked='own profile', replications=replications, seed=SEED, miss=truth, error=off.mean(), error_se=off.std()/np.sqrt(replications),
            coverage=float(((miss.ci_low <= truth) & (truth <= miss.ci_high)).mean()), shown_off=float((miss.p_adj < .05).mean()), called_within=None if drop is None else float((within.p_adj < .05).mean()))


def main():
    ask = Options(__file__, __doc__)
    ask.size('--replications', 500, quick=20)
    args = ask.parse_args()
    datasets.disable_progress_bars()
    n = args.replications
    rows = [row for clusters in (None, 40) for row in summary(replicated(clusters, n), clusters, n)]
    for design in CONJOINTS:
        rows += conjoint(design, n)
    print(pd.DataFrame(rows).round(3).to_string())
    args.out.write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
