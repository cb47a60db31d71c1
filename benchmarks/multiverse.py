"""How often the joint test of a multiverse is wrong, and what it finds.

    python benchmarks/multiverse.py [--replications 200] [--untrue 5000] [--quick]

Made-up studies: 120 respondents, 6 items, 48 specifications (6 wordings, 2 backgrounds, 2 orders, 2 labels).
A respondent's difference between predictor and rival in a specification is the planted advantage, what is the
respondent's own, what is the respondent's with that wording, and noise. The advantage exists in none, in half (three
of the six wordings) or in all of the specifications. Writes multiverse.json beside this file: how often the joint
test rejects at .05, and how often the planted choice explains most of the variance, each with a 95 % interval. A rate
of false alarms near .05 takes more studies to tell than a power near 1, so `none` has its own number."""
import itertools
import json

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from alignsurvey.estimation.bootstrap import resamples
from alignsurvey.study.multiverse import Multiverse, joint_test, variance_explained
from options import Options

RESPONDENTS, ITEMS, DRAWS, ADVANTAGE = 120, 6, 400, .12
CHOICES = dict(wording=list('abcdef'), background=['lines', 'sentences'], order=['keep', 'reverse'],
    labels=['letters', 'numbers'])
SPECIFICATIONS = pd.DataFrame(list(itertools.product(*CHOICES.values())), columns=list(CHOICES))
HELPED = dict(none=[], half=list('abc'), all=list('abcdef'))


def study(scenario, seed):
    "One made-up study as a `Multiverse`."
    rng = np.random.default_rng([seed, len(HELPED[scenario])])
    n, s = RESPONDENTS, len(SPECIFICATIONS)
    own = rng.normal(0, .25, (n, 1))
    codes = pd.Categorical(SPECIFICATIONS.wording).codes
    with_wording = rng.normal(0, .15, (n, len(CHOICES['wording'])))[:, codes]
    noise = rng.exponential(.4/np.sqrt(ITEMS), (n, s)) - .4/np.sqrt(ITEMS)    # skewed, as scores are
    differences = own + with_wording + noise - ADVANTAGE*SPECIFICATIONS.wording.isin(HELPED[scenario]).to_numpy()
    draws = np.vstack([times @ differences/times.sum(1, keepdims=True) for times in resamples(n, DRAWS, seed)])
    return Multiverse(SPECIFICATIONS, draws, dict(weight=np.ones(n)), 'brier')


def share(hits):
    "A share with its exact interval."
    found = binomtest(int(np.sum(hits)), len(hits))
    low, high = found.proportion_ci()
    return dict(share=found.statistic, ci_low=round(low, 4), ci_high=round(high, 4), replications=len(hits))


def main(replications, untrue, to):
    out = dict(respondents=RESPONDENTS, items=ITEMS, specifications=len(SPECIFICATIONS), draws=DRAWS, advantage=ADVANTAGE)
    for scenario in HELPED:
        rejected, first = [], []
        for seed in range(replications if HELPED[scenario] else untrue):
            made = study(scenario, seed)
            rejected.append(joint_test(made.draws, **made.clusters) < .05)
            if scenario == 'half':
                first.append(variance_explained(made).choice[0] == 'wording')
        out[scenario] = dict(rejected=share(rejected)) | (dict(wording_first=share(first)) if first else {})
    to.write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')
    print(json.dumps(out, indent=1))


if __name__ == '__main__':
    parser = Options(__file__, __doc__)
    parser.size('--replications', 200, quick=5, help='studies with an advantage, of each kind')
    parser.size('--untrue', 5000, quick=5, help='studies without')
    given = parser.parse_args()
    main(given.replications, given.untrue, given.out)
