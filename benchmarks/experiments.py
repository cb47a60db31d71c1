"""Planted experiments: is the miss of a model's effect estimated without bias, does its interval hold the truth, and is a model within a margin only where it is?

An effect of -.5 steps of a three-point scale in people, asked in two arms, in a simple sample of 400 and in 40 clusters (correlation within .05) with weights (cv 1).
Three models: one that has people's chances in both arms, one with half of the effect, and one that is off by just the margin of .2.
Run: python benchmarks/experiments.py [--replications 500] [--quick]. Writes benchmarks/experiments.json; with --quick 20 replications, shown and not written."""
import argparse
import json
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
from scipy.stats import norm

from alignsurvey.evaluation import experiment_effects
from alignsurvey.records.reading import make_records

ARMS, PEOPLE, MARGIN, SEED = ['poor', 'welfare'], 400, .2, 0
CHANCES = np.array([[.15, .3, .55], [.35, .4, .25]])
MEANS = CHANCES @ np.arange(3)


def moved(by):
    "Chances in the second arm of a model whose effect is off by so much."
    p = CHANCES[1].copy()
    return p + np.array([-by/2, 0, by/2])


MODELS = {'right': (moved(0), 0.), 'half of the effect': (moved(.25), .25), 'off by the margin': (moved(MARGIN), MARGIN)}


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
    shared = dict(task='response', level='individual', source='made_up', instruction='?', answer_form='text', options=list('abc'), scale='ordinal', positions=[0., 1., 2.])
    return make_records([dict(shared, output='abc'[v], answer_index=int(v), respondent_id=str(i), question_id=ARMS[a], psu=str(c) if clusters else None, weight=float(w))
        for i, (a, v, c, w) in enumerate(zip(arm, y, psu, weight))])


def said(records, second):
    probs = [list(CHANCES[0] if name == ARMS[0] else second) for name in records['question_id'][:]]
    return pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', probs=probs, elicitation='score'))


def replicated(clusters, replications):
    rows = []
    for i in range(replications):
        records = study(np.random.default_rng([SEED, i, clusters or 0]), clusters)
        frames = {name: said(records, second) for name, (second, _) in MODELS.items()}
        found = experiment_effects(records, frames, ARMS, margin=MARGIN, n_boot=200, seed=i)
        rows.append(found.assign(replication=i))
    return pd.concat(rows)


def summary(found, clusters, replications):
    for name, (second, truth) in MODELS.items():
        own = found[found.predictor == name]
        miss, within = own[own.metric == 'effect_miss'], own[own.metric == 'effect_within']
        off = miss.value - (second @ np.arange(3) - MEANS[1])
        yield dict(design='40 clusters, weights' if clusters else 'simple sample', truth=name, replications=replications, seed=SEED, miss=truth, error=off.mean(), error_se=off.std()/np.sqrt(replications),
            coverage=float(((miss.ci_low <= truth) & (truth <= miss.ci_high)).mean()), shown_off=float((miss.p_adj < .05).mean()), called_within=float((within.p_adj < .05).mean()))


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument('--replications', type=int, default=500)
    ask.add_argument('--quick', action='store_true')
    args = ask.parse_args()
    datasets.disable_progress_bars()
    n = 20 if args.quick else args.replications
    rows = [row for clusters in (None, 40) for row in summary(replicated(clusters, n), clusters, n)]
    print(pd.DataFrame(rows).round(3).to_string())
    if not args.quick:
        Path(__file__).with_suffix('.json').write_text(json.dumps(rows, indent=1) + '\n')


if __name__ == '__main__':
    main()
