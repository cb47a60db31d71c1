"""Does a blend of predictors ever do worse than its best part? Does it find a blend's weights?

Simulated studies: answers to four items with three options come from a blend of two predictors,
from the first alone, or from neither; 60 validation respondents weigh them and 150 others are
scored. The blend is compared with whichever predictor turned out best on these, in hindsight,
paired, with intervals for which respondents of both kinds are drawn again.
Run: python benchmarks/stacking.py [--studies 200] [--quick]. Writes benchmarks/stacking.json."""
import json
import numpy as np
import pandas as pd
from alignsurvey.evaluation.stacking import mixture_weights
from options import Options

TRUTHS = ('blend', 'the first', 'neither')
ITEMS = 4
VALIDATION = 60    # respondents
TEST = 150
MANY = 5000    # answers, from which a blend's weights should be found


def given_to_answers(shares, predictors, rng):
    "Answers are drawn from shares: the probability that each predictor gave to every one of them."
    chance = rng.random((*shares.shape[:-1], 1))
    answers = (shares.cumsum(-1) > chance).argmax(-1)[..., None]
    return np.concatenate([np.take_along_axis(q, answers, -1) for q in predictors], -1)


def study(truth, rng):
    "What predictors gave to each answer, (people, items, 2); the first one's weight in the truth."
    shape = VALIDATION + TEST, ITEMS
    one, other, third = (rng.dirichlet([2, 2, 2], shape) for _ in range(3))
    weight = {'blend': rng.uniform(.2, .8), 'the first': 1., 'neither': None}[truth]
    shares = third if weight is None else weight*one + (1 - weight)*other
    return given_to_answers(shares, (one, other), rng), weight


def weighed(chosen):
    "Weights from what two predictors gave to some answers."
    return mixture_weights(chosen.reshape(-1, 2), np.ones(chosen.size//2))


def gap(chosen, weights, best):
    "Mean log score of the blend minus that of one predictor."
    return float((np.log(chosen[..., best]) - np.log(chosen @ weights)).mean())


def drawn_again(part, rng):
    "As many respondents, with replacement."
    return part[rng.integers(len(part), size=len(part))]


def compared(known, chosen, rng, draws):
    "The blend beside the predictor that turned out best; for the interval, both samples vary."
    weights = weighed(known)
    best = int(np.log(chosen).mean((0, 1)).argmax())
    found = []
    for _ in range(draws):
        again = drawn_again(known, rng)
        scored = drawn_again(chosen, rng)
        found.append(gap(scored, weighed(again), best))
    low, high = np.quantile(found, [.025, .975])
    return dict(weight=float(weights[0]), difference=gap(chosen, weights, best),
        ci_low=float(low), ci_high=float(high))


def studies(n=20, seed=0, draws=100):
    "A row a simulated study."
    rows = []
    for i in range(n):
        truth = TRUTHS[i % len(TRUTHS)]
        rng = np.random.default_rng([seed, i])
        chosen, weight = study(truth, rng)
        found = compared(chosen[:VALIDATION], chosen[VALIDATION:], rng, draws)
        rows.append(dict(study=i, truth=truth, true_weight=weight, **found))
    return rows


def recovered(n=10, people=MANY, seed=1):
    "How far weights are from those of the blend that many answers came from."
    gaps = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        one, other = (rng.dirichlet([1, 1, 1], people) for _ in range(2))
        weight = rng.uniform(0, 1)
        chosen = given_to_answers(weight*one + (1 - weight)*other, (one, other), rng)
        gaps.append(abs(weighed(chosen)[0] - weight))
    return gaps


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--studies', 200, quick=10)
    given = ask.parse_args()
    found = dict(studies=studies(given.studies), answers=MANY, furthest_weight=max(recovered()))
    print(pd.DataFrame(found['studies']).round(3).to_string(), found['furthest_weight'])
    given.out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
