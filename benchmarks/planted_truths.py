"""Are planted truths found? Made-up people and a predictor with a known fault: 10 points less accurate in one cell of four, a temperature of 2, .15 too many answers in the first place,
a coefficient halved, a variance shrunk by 30 %. Each fault is drawn 200 times; its interval should hold it, in 95 % of them if the interval is right.

Run: python benchmarks/planted_truths.py [--replications 200] [--only gap …] [--quick]. Writes planted_truths.json: how many intervals hold the truth, and how many exclude that there is no fault."""
import json, time
import datasets, numpy as np, pandas as pd
from alignsurvey.evaluation.calibration import temperature
from alignsurvey.evaluation.orders import position_bias
from alignsurvey.records.reading import make_records
from alignsurvey.records.orders import reorder
from alignsurvey.evaluation.structure import coefficients, variance_ratio
from alignsurvey.evaluation.subgroups import subgroup_scores
from options import Options

N = 900
datasets.disable_progress_bars()
GROUPS = dict(age=np.where(np.arange(N) % 2, 'old', 'young'), sex=np.where(np.arange(N)//2 % 2, 'female', 'male'))


def blank(k):
    "Records of N people and one question with k options, answers still to come."
    words = [f'option {i}' for i in range(k)]
    return make_records([dict(task='response', instruction='\n'.join([f'{i}?', *(f'{chr(65 + j)}. {x}' for j, x in enumerate(words))]), output=f'A. {words[0]}', options=words, answer=words[0], answer_index=0, scale='ordinal', positions=[float(x) for x in range(k)],
        source='made_up', respondent_id=str(i), question_id='q', groups={v: str(x[i]) for v, x in GROUPS.items()}) for i in range(N)])


RECORDS = {k: blank(k) for k in (3, 5)}
TURNED = reorder(RECORDS[3].select(range(N//3)), 'cyclic')


def answered(y, k): return RECORDS[k].remove_columns('answer_index').add_column('answer_index', [int(v) for v in y])

def chosen(rng, p): return (rng.random((len(p), 1)) > np.cumsum(p, 1)[:, :-1]).sum(1)

def said(records, **columns): return {'model': pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', **columns))}


def gap(rng, seed):
    "Right for 65 % of old women and 75 % of all others; judged by the true gap between the two cells that the row names."
    right = {'old / female': .65}
    cell = [f'{a} / {s}' for a, s in zip(*GROUPS.values())]
    y, hit = rng.integers(0, 3, N), rng.random(N) < [right.get(c, .75) for c in cell]
    rows = subgroup_scores(r := answered(y, 3), said(r, value=np.where(hit, y, (y + 1) % 3), probs=None), by=['age', 'sex'], metric='accuracy', n_boot=500, seed=seed)
    row = rows[rows.group == 'gap'].iloc[0]
    worst, best = row.note.split(';')[0].split(' minus ')
    return right.get(worst, .75) - right.get(best, .75), row.ci_low, row.ci_high, 0.


def heat(rng, seed):
    "Answers drawn from the probabilities that a temperature of 2 makes of the predictor's."
    score = rng.normal(size=(N, 3))*2
    p = np.exp(score/2)/np.exp(score/2).sum(1, keepdims=True)
    q = np.exp(score)/np.exp(score).sum(1, keepdims=True)
    row = temperature(r := answered(chosen(rng, p), 3), said(r, probs=q.tolist(), elicitation='score'), n_boot=500, seed=seed).iloc[0]
    return 2., row.ci_low, row.ci_high, 1.


def first_place(rng, seed):
    "Each respondent has an opinion, is asked in all three turns, and picks the first place in .225 of them regardless: an excess of .225 times 2/3."
    own = dict(zip(RECORDS[3]['respondent_id'][:], rng.dirichlet(np.ones(3), N)))
    opinion = [[own[p][int(o[-1])] for o in options] for p, options in zip(TURNED['respondent_id'], TURNED['options'])]
    value = np.where(rng.random(len(TURNED)) < .225, 0, chosen(rng, opinion))
    row = position_bias(TURNED, said(TURNED, value=value, probs=None)['model'], n_boot=500, seed=seed).iloc[0]
    return .15, row.excess_low, row.excess_high, 0.


def slope(rng, seed):
    "The old are .4 higher on a scale of 0 to 2, and .2 by the predictor: its coefficient less people's is -.2."
    old = (GROUPS['age'] == 'old').astype(int)[:, None]
    human, model = np.array([[.4, .3, .3], [.2, .3, .5]])[old[:, 0]], np.array([[.4, .3, .3], [.3, .3, .4]])[old[:, 0]]
    rows = coefficients(r := answered(chosen(rng, human), 3), said(r, probs=model.tolist(), elicitation='score'), 'q ~ old', data=pd.DataFrame(dict(old=old[:, 0]), index=RECORDS[3]['respondent_id'][:]), n_boot=200, seed=seed)
    row = rows[(rows.versus == 'human') & (rows.group == 'old')].iloc[0]
    return -.2, row.ci_low, row.ci_high, 0.


def spread(rng, seed):
    "People's answers have the variance 1.2, the predictor's .7 of it."
    p = np.array([.1, .2, .4, .2, .1])
    q = .7*p + .3*np.eye(5)[2]
    rows = variance_ratio(r := answered(chosen(rng, np.tile(p, (N, 1))), 5), said(r, probs=np.tile(q, (N, 1)).tolist(), elicitation='score'), n_boot=500, seed=seed)
    row = rows[rows.question_id.notna()].iloc[0]
    return .7, row.ci_low, row.ci_high, 1.


FAULTS = {'gap': gap, 'temperature': heat, 'position bias': first_place, 'coefficient': slope, 'variance': spread}


def main():
    ask = Options(__file__, __doc__)
    ask.size('--replications', 200, quick=5)
    ask.add_argument('--only', nargs='*', choices=list(FAULTS), default=list(FAULTS))
    args = ask.parse_args()
    found = json.loads(args.out.read_text(encoding='utf-8')) if args.out.exists() else {}
    for name in args.only:
        start = time.perf_counter()
        true, low, high, none = np.array([FAULTS[name](np.random.default_rng([i, 7]), i) for i in range(args.replications)], float).T
        found[name] = dict(planted=float(pd.Series(true).mode()[0]), replications=args.replications, hold_it=int(((low <= true) & (true <= high)).sum()), exclude_no_fault=int(((low > none) | (high < none)).sum()),
            seconds=round(time.perf_counter() - start, 1))
        args.out.write_text(json.dumps(found, indent=1), encoding='utf-8')
        print(name, found[name], flush=True)


if __name__ == '__main__': main()
