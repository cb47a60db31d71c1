"""Does a blend of predictors ever do worse than its best part, and does it find the weights of a blend?

Simulated studies: answers to four items with three options come from a blend of two predictors, from the first alone, or from neither; 60 validation respondents
weigh them and 150 others are scored. The blend is compared with whichever predictor turned out best on these, in hindsight, paired, with intervals for which respondents of
both kinds are drawn again.
Run: python benchmarks/stacking.py [--studies 200] [--quick]. Writes benchmarks/stacking.json."""
import json
import numpy as np
import pandas as pd
from alignsurvey.evaluation.stacking import mixture_weights
from options import Options

TRUTHS, ITEMS, VALIDATION, TEST = ('blend', 'the first', 'neither'), 4, 60, 150


def study(truth, rng):
    "Probability that two predictors gave to the answers of each person, (people, items, 2); and the first's weight in the truth."
    n = VALIDATION + TEST
    one, other, third = (rng.dirichlet([2, 2, 2], (n, ITEMS)) for _ in range(3))
    weight = dict(blend=rng.uniform(.2, .8), neither=np.nan).get(truth, 1.)
    p = third if truth == 'neither' else weight*one + (1 - weight)*other
    y = (p.cumsum(-1) > rng.random((n, ITEMS, 1))).argmax(-1)[..., None]
    return np.concatenate([np.take_along_axis(q, y, -1) for q in (one, other)], -1), weight


def weighed(chosen):
    "Weights from the answers of validation respondents."
    return mixture_weights(chosen.reshape(-1, 2), np.ones(chosen.size//2))


def gap(chosen, weights, best):
    "Mean log score of the blend minus that of one predictor."
    return float((np.log(chosen[..., best]) - np.log(chosen @ weights)).mean())


def compared(known, chosen, weights, rng, draws):
    "The blend beside the predictor that turned out best; for the interval both those who weigh and those who are scored are drawn again."
    best = int(np.log(chosen).mean((0, 1)).argmax())
    found = []
    for _ in range(draws):
        again, scored = (part[rng.integers(len(part), size=len(part))] for part in (known, chosen))
        found.append(gap(scored, weighed(again), best))
    low, high = np.quantile(found, [.025, .975])
    return dict(difference=gap(chosen, weights, best), ci_low=float(low), ci_high=float(high))


def studies(n=20, seed=0, draws=100):
    rows = []
    for i in range(n):
        truth, rng = TRUTHS[i % len(TRUTHS)], np.random.default_rng([seed, i])
        chosen, weight = study(truth, rng)
        known, chosen = chosen[:VALIDATION], chosen[VALIDATION:]
        found = weighed(known)
        rows.append(dict(study=i, truth=truth, true_weight=None if np.isnan(weight) else weight, weight=float(found[0]), **compared(known, chosen, found, rng, draws)))
    return rows


def recovered(n=10, people=5000, seed=1):
    "How far weights are from those of the blend that answers came from, where there are many answers."
    gaps = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        one, other = rng.dirichlet([1, 1, 1], people), rng.dirichlet([1, 1, 1], people)
        weight = rng.uniform(0, 1)
        y = ((weight*one + (1 - weight)*other).cumsum(1) > rng.random((people, 1))).argmax(1)
        chosen = np.stack([q[np.arange(people), y] for q in (one, other)], 1)
        gaps.append(abs(mixture_weights(chosen, np.ones(people))[0] - weight))
    return gaps


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--studies', 200, quick=10)
    given = ask.parse_args()
    found = dict(studies=studies(given.studies), answers=5000, furthest_weight=max(recovered()))
    print(pd.DataFrame(found['studies']).round(3).to_string(), found['furthest_weight'])
    given.out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
