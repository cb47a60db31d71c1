"""Do the intervals of partial pooling hold? Simulated populations of 120 cells (five, four and six values of three variables) whose cells answer one of three options by effects of each variable; samples of them
in which some cells are three times as likely to be drawn. Per cent of 95 % intervals that hold the population's share, by variable's groups, by cell, and for everybody.

Run: python benchmarks/mrp.py [--populations 150] [--quick]. Writes mrp.json. What R's lme4 fits is in mrp.R and mrp_lme4.csv."""
import json
import sys
import time
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import expit

from alignsurvey.estimation.partial_pooling import multilevel_counts, share_draws
from options import Options

SIZES, K = dict(a=5, b=4, c=6), 3
GROUPS = {'everybody': [], 'groups of one variable': ['a'], 'crossings of two': ['a', 'b'], 'cells': ['a', 'b', 'c']}
CELLS = pd.DataFrame([[f'{v}{i}' for v, i in zip(SIZES, row)] for row in product(*map(range, SIZES.values()))], columns=list(SIZES))


def population(rng):
    "Cells with their size and shares (cells, K); how much effects vary differs between variables and populations."
    stop = []
    for _ in range(K - 1):
        eta = np.full(len(CELLS), rng.normal(0, .7))
        for v, size in SIZES.items():
            effects = rng.normal(0, abs(rng.normal(0, .5)), size)
            eta = eta + effects[CELLS[v].str[1:].astype(int)]
        stop.append(expit(eta))
    shares = np.column_stack([stop[0], (1 - stop[0])*stop[1], (1 - stop[0])*(1 - stop[1])])
    return CELLS.assign(n=rng.gamma(1, size=len(CELLS))), shares


def held(rng, people):
    "Whether each interval holds, by kind of group; and how wide they are."
    cells, shares = population(rng)
    chance = cells.n*np.where(rng.random(len(cells)) < .5, 3, 1)
    sampled = rng.multinomial(people, chance/chance.sum())
    counts = np.array([rng.multinomial(n, p) for n, p in zip(sampled, shares)])
    model = multilevel_counts(cells[list(SIZES)], counts)
    several, found = share_draws(model, cells, 500, seed=int(rng.integers(2**31))), {}
    for kind, by in GROUPS.items():
        label = cells[by].agg(' / '.join, axis=1) if by else pd.Series('all', index=cells.index)
        part = np.equal.outer(np.array(sorted(set(label))), label.to_numpy())*cells.n.to_numpy()
        part = part/part.sum(1, keepdims=True)
        low, high = np.quantile(part @ several, [.025, .975], axis=0)
        found[kind] = ((low <= part @ shares) & (part @ shares <= high)).mean(), (high - low).mean()
    return found


def main():
    ask = Options(__file__, __doc__)
    ask.size('--populations', 150, quick=3)
    given, start, out = ask.parse_args(), time.perf_counter(), []
    populations = given.populations
    for people in 300, 1000:
        runs = [held(np.random.default_rng([people, seed]), people) for seed in range(populations)]
        for kind in runs[0]:
            inside = 100*np.array([run[kind][0] for run in runs])
            out.append(dict(people=people, of=kind, coverage=round(float(inside.mean()), 2), simulation_error=round(float(inside.std()/np.sqrt(populations)), 2),
                width=round(float(np.mean([run[kind][1] for run in runs])), 4), populations=populations))
            print(out[-1], f'{time.perf_counter() - start:.0f} s', file=sys.stderr, flush=True)
        given.out.write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
