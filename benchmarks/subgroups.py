"""Does a report say of groups what is so? Simulated surveys with a model that knows the truth, or all of it but one group.

    noisier     one sex is harder to foretell; the model is right about both: any claim is wrong
    ten nulls   answers differ by person and by none of ten variables; the model is right: any claim is wrong
    planted     the model takes a quarter of the people for others, by errors of three sizes: to be found

A claim is a group that is shown to be worse than its own shares, or a variable by which groups are shown to differ; `raw` is the gap of raw Brier scores, each variable judged alone, in the first 40 studies.

Run: python benchmarks/subgroups.py [--studies 400] [--quick], half as many of each planted kind. Writes subgroups.json: per cent of studies with a claim."""
import json
import sys
import time

import numpy as np
import pandas as pd

from alignsurvey.evaluation.subgroups import subgroup_excess, subgroup_scores
from alignsurvey.records.reading import make_records
from options import Options

PEOPLE, ITEMS, K, DRAWS, RAW = 600, 1, 3, 200, 40
EVEN, SURE = np.array([.34, .33, .33]), np.array([.8, .15, .05])


def survey(groups, truth, rng):
    "Records of people in `groups` whose answers are drawn from `truth` (people, K), the same for each item."
    cut = truth.cumsum(1)[:, None, :-1]
    y = (rng.random((len(groups), ITEMS, 1)) > cut).sum(2)
    options, who = [f'o{k}' for k in range(K)], groups.to_dict('records')
    asked = dict(instruction='?', options=options, scale='ordinal', positions=list(range(K)), source='sim')
    return make_records([dict(asked, output=options[k], answer_index=int(k), respondent_id=f'p{i}', question_id=f'q{j}', groups=who[i])
        for i, row in enumerate(y) for j, k in enumerate(row)])


def said(records, q):
    "A model that says q (people, K)."
    probs = np.repeat(q, ITEMS, axis=0).tolist()
    return dict(model=pd.DataFrame(dict(record_id=records['record_id'][:], probs=probs, status='ok', elicitation='score')))


def noisier(rng):
    groups = pd.DataFrame(dict(sex=rng.choice(['f', 'm'], PEOPLE), age=rng.choice(['old', 'middle', 'young'], PEOPLE)))
    truth = np.where((groups.sex == 'f').to_numpy()[:, None], EVEN, SURE)
    return groups, truth, truth


def ten_nulls(rng):
    groups = pd.DataFrame({f'v{i}': rng.choice(list('abc')[:2 + i % 2], PEOPLE) for i in range(10)})
    truth = rng.dirichlet([3, 2, 1], PEOPLE)
    return groups, truth, truth


def planted(shift):
    "The model is right about all but the young women, for whom it moves `shift` from one end to the other."
    def study(rng):
        groups = pd.DataFrame(dict(sex=rng.choice(['f', 'm'], PEOPLE), age=rng.choice(['old', 'young'], PEOPLE)))
        truth = np.tile([.4, .3, .3], (PEOPLE, 1))
        off = ((groups.sex == 'f') & (groups.age == 'young')).to_numpy()
        return groups, truth, truth + off[:, None]*shift*np.array([-1, 0, 1])
    return study


STUDIES = {'noisier': noisier, 'ten nulls': ten_nulls, 'planted .15': planted(.15), 'planted .25': planted(.25), 'planted .30': planted(.3)}


def claims(make, seed):
    "What is claimed of one simulated survey."
    rng = np.random.default_rng(seed)
    groups, truth, model = make(rng)
    records = survey(groups, truth, rng)
    one, by = said(records, model), list(groups)
    crossed = [('sex', 'age')] if 'sex' in by else []
    rows = subgroup_excess(records, one, by=by + crossed, n_boot=DRAWS, seed=seed)
    raw = [subgroup_scores(records, one, by=v, n_boot=DRAWS, seed=seed) for v in by] if seed < RAW else []
    gap = rows.group == 'gap'
    return dict(worse=bool((rows.ci_low[~gap] > 0).any()), gap=bool((rows.ci_low[gap] > 0).any()), any=bool((rows.ci_low > 0).any()),
        found=bool((rows.ci_low[rows.group == 'f / young'] > 0).any()), raw=any((r.ci_low[r.group == 'gap'] > 0).any() for r in raw) if raw else None)


def main():
    ask = Options(__file__, __doc__)
    ask.size('--studies', 400, quick=6)
    given, start, out = ask.parse_args(), time.perf_counter(), []
    for name, make in STUDIES.items():
        many = given.studies//2 if name.startswith('planted') else given.studies
        found = pd.DataFrame([claims(make, seed) for seed in range(many)])
        share = {claim: round(100*float(found[claim].dropna().mean()), 2) for claim in found}
        out.append(dict(study=name, studies=many, people=PEOPLE, items=ITEMS, draws=DRAWS, **share))
        given.out.write_text(json.dumps(out, indent=1) + '\n', encoding='utf-8')
        print(f'{name}: {share}, {time.perf_counter() - start:.0f} s', file=sys.stderr, flush=True)


if __name__ == '__main__':
    main()
