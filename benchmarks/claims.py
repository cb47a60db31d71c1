"""What does a full report claim of a perfect model, and what does it find of a faulty one?

Made-up people have chances of each answer that follow their age and sex; with and without
clusters (correlation .05 within), with and without weights (cv 1), 3 to 30 items.

    null    The perfect model says these chances. Every sentence of every section is read, and a
            claim is what a reader would take for a finding against the model.
    faults  Each of seven faults is planted at two or three sizes, in a study of 400 people and 3
            items, and the section that should find it is made.
    levels  The tests behind two sections of the null alone, in many more studies: no report is
            made, so that their level is known to a fraction of a per cent.

Sections are made as `full_report` makes them, with 100 draws; plots are not drawn. The third sizes
of `score` and `item` were added after the second were found in fewer than nine studies of ten,
from 20 pilot studies with other seeds (score .7: 20 of 20, item .3: 20 of 20). Whether a model with
a mirrored part is truly worse than the margin, and by how many standard errors, stands beside what
was found: where it follows age and sex and little is mirrored, it is truly better.

Run: python benchmarks/claims.py [null|faults|levels] [--studies 200] [--seconds 1200] [--quick]. Writes
claims.json, claims_faults.json or claims_levels.json. The first two are written after each study,
stop when the time is over, and go on from where they were."""
import json
import re
import time
import warnings
from functools import cache
from itertools import product

import datasets
import numpy as np
import pandas as pd
from scipy.stats import norm

from alignsurvey.estimation.bootstrap import chance_p, cluster_interval, resamples, small_sample
from alignsurvey.estimation.tests import benjamini_hochberg
from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.metrics.distances import wasserstein
from alignsurvey.records.orders import reorder
from alignsurvey.records.reading import make_records
from alignsurvey.reporting import sections
from alignsurvey.reporting.sections import SECTIONS, Material, tried
from options import Options

FILES = dict(null='claims.json', faults='claims_faults.json', levels='claims_levels.json')
N, K, CLUSTERS = 300, 3, 20
UNIFORM = np.full(K, 1/K)
MIDDLE = np.arange(K) - 1    # where each option stands, from -1 to 1
FORMULA = 'q0 ~ age + sex'
# what a finding against the model reads like, by section; 'not shown' never matches
CLAIMS = {
    'scores': r'(?<!not )\bworse than',
    'items': r'^[1-9]\d* of \d+ items are shown',
    'subgroups': r'groups differ by',
    'calibration': r'Miscalibration costs|: too sure|: not sure enough',
    'position of options': r'its share is off by',
    'structure': r': too alike|: too varied|items are off by|'
        r', [1-9]\d* of \d+ coefficients are shown',
}


def made_up(
    rng, # draws them
    items, # how many
    clustered, # whether people live in clusters
    weighted, # whether their weights differ
    n=N, # people
    effect=.5, # of age and sex, in log odds
    person=0., # spread of people's own leaning, in log odds
)->dict: # p (people, items, K), y (people, items), w, psu, age, sex (people,)
    "People, their chances of each answer, and their answers."
    age, sex = rng.integers(0, 3, n), rng.integers(0, 2, n)
    by_age = (age - 1)[:, None]*rng.choice([-1, 1], items)
    by_sex = (sex - .5)[:, None]*rng.choice([-1, 1], items)
    logit = rng.normal(scale=.5, size=(items, K)) + effect*(by_age + by_sex)[..., None]*MIDDLE
    if person:
        logit = logit + person*rng.normal(size=(n, 1, 1))*MIDDLE
    p = np.exp(logit)/np.exp(logit).sum(2, keepdims=True)
    psu = np.arange(n)*CLUSTERS//n if clustered else np.arange(n)
    y = answered(rng, p, psu, .05*clustered)
    w = rng.lognormal(sigma=np.sqrt(np.log(2))*weighted, size=n)
    return dict(p=p, y=y, w=w, psu=psu, age=age, sex=sex)


def answered(rng, p, psu, icc):
    "Answers (people, items) with chances p; members of a cluster lean the same way."
    shared = rng.normal(size=(psu.max() + 1, p.shape[1]))[psu]
    own = rng.normal(size=p.shape[:2])
    z = norm.cdf(np.sqrt(icc)*shared + np.sqrt(1 - icc)*own)
    return (z[..., None] > p.cumsum(2)[..., :-1]).sum(2)


def recorded(people, clustered):
    "Records of these people's answers, options in shuffled order."
    words = [f'o{k}' for k in range(K)]
    asked = dict(task='response', options=words, answer_form='text', scale='ordinal',
        positions=[0., 1., 2.], source='made_up')
    rows = []
    for (i, j), v in np.ndenumerate(people['y']):
        groups = dict(age=str(people['age'][i]), sex=str(people['sex'][i]))
        rows.append(dict(asked, instruction=f'{j}?\nA. o0\nB. o1\nC. o2', output=f'o{v}',
            answer_index=int(v), respondent_id=str(i), question_id=f'q{j}',
            weight=float(people['w'][i]), psu=str(people['psu'][i]) if clustered else None,
            groups=groups))
    return reorder(make_records(rows), 'shuffle')


def said(records, q):
    "Predictions from q (people, items, K), options as displayed."
    at = zip(records['respondent_id'][:], records['question_id'][:], records['options'][:])
    probs = [[float(q[int(i), int(j[1:]), int(o[1:])]) for o in options] for i, j, options in at]
    known = dict(record_id=records['record_id'][:], status='ok', elicitation='score')
    return pd.DataFrame(dict(known, probs=probs))


def material(
    records, # of made-up people
    frames, # predictor -> predictions; `model` is the one of interest
    seed, # of the draws
    *,
    rivals=(), # names of the others
    scores=None, # what `evaluate` says of them
    by=(), # background variables
)->Material:
    "What `full_report` would hand to its sections."
    return Material(records=records, frames=frames, all_records=records,
        all_frames=dict(model=frames['model']), train=None, models=['model'],
        baselines=list(rivals), versus=list(rivals), scores=scores, metric='log_score',
        stated=True, by=list(by), rule='missing', formula=FORMULA, skipped=[],
        boot=dict(n_boot=100, seed=seed, strata=False))


def studied(records, q, rivals, seed, names):
    "These sections' findings on a model that says q, by name; None where one could not be made."
    frames = {k: said(records, np.broadcast_to(r, q.shape)) for k, r in rivals.items()}
    frames['model'] = said(records, q)
    scores = pd.DataFrame()
    if {'scores', 'items'} & {*names}:
        scores = evaluate(records, frames, baselines=False, versus=list(rivals),
            models=['model'], n_boot=100, seed=seed)
    s = material(records, frames, seed, rivals=rivals, scores=scores, by=['age', 'sex'])
    made = {name: tried(s, name, lambda: SECTIONS[name](s)) for name in names}
    return {name: x and x.finding for name, x in made.items()}


def perfect(i):
    "One study of a perfect model: its design and what each section says."
    rng = np.random.default_rng([i, 11])
    items = (3, 3, 5, 8, 3, 5, 8, 30)[i//4 % 8]
    clustered, weighted = bool(i % 2), bool(i//2 % 2)
    people = made_up(rng, items, clustered, weighted)
    p = people['p']
    mean = p.mean(0)
    thousand = rng.multinomial(1000, mean/mean.sum(1, keepdims=True))/1000    # other people
    rivals = {'uniform': UNIFORM, 'marginal': np.maximum(thousand, 1e-3)}
    found = studied(recorded(people, clustered), p, rivals, i, CLAIMS)
    claimed = {}
    for name, text in found.items():
        claimed[name] = None if text is None else bool(re.search(CLAIMS[name], text))
    return dict(questions=items, clustered=clustered, weighted=weighted, **claimed)


# planted faults: each takes people and a size, and gives what the model says

def mirrored(people, size):
    "A share of each answer is its mirror image."
    p = people['p']
    return p[:, :, ::-1]*size + p*(1 - size)


def moved_in_one_item(people, size):
    "A share of the first item's answers is moved to the option that people choose least."
    q = people['p'].copy()
    least = q[:, 0].mean(0).argmin()
    q[:, 0] = q[:, 0]*(1 - size) + size*np.eye(K)[least]
    return q


def surer(people, size):
    "Chances to a power, so that the likely become likelier."
    p = people['p']
    return p**size/(p**size).sum(2, keepdims=True)


def moved_to_the_middle(people, size):
    "A share of each answer is moved to the middle option."
    return people['p']*(1 - size) + size*np.eye(K)[1]


def the_same_for_all(people, size):
    "The mean chances; `size` is the spread of people's own leaning, of which these know nothing."
    return np.broadcast_to(people['p'].mean(0), people['p'].shape)


def age_overdone(people, size):
    "The effect of age on the first item is off by so many log odds."
    p, age = people['p'], people['age']
    first = np.array([1, 0, 0])[:, None]
    lean = -size*(age - 1)[:, None, None]*MIDDLE*first
    q = p*np.exp(lean*np.sign(np.corrcoef(age, p[:, 0, 2])[0, 1]))
    return q/q.sum(2, keepdims=True)


def unchanged(people, size):
    "What is planted is planted in the order shown: see `favouring_the_first`."
    return people['p']


def favouring_the_first(frame, size):
    "Predictions of which a share goes to the option that is shown first."
    first = np.eye(K)[0]
    probs = [((1 - size)*np.array(q) + size*first).tolist() for q in frame.probs]
    return frame.assign(probs=probs)


# fault -> (what the model says, section that should find it, its sizes, what the finding reads
# like where the section finds other things, too)
FAULTS = dict(
    score=(mirrored, 'scores', (.3, .5, .7), None),
    item=(moved_in_one_item, 'items', (.1, .2, .3), None),
    calibration=(surer, 'calibration', (1.5, 2.), None),
    position=(unchanged, 'position of options', (.05, .1), None),
    variance=(moved_to_the_middle, 'structure', (.15, .3), ': too alike'),
    correlations=(the_same_for_all, 'structure', (.7, 1.2), 'items are off by'),
    coefficient=(age_overdone, 'structure', (.4, .8),
        r'[1-9]\d* of \d+ coefficients are shown'),
)


def faulty_study(i, person=0.):
    "People of study i, every other one in clusters, every other two with weights."
    rng = np.random.default_rng([i, 13])
    return made_up(rng, 3, bool(i % 2), bool(i//2 % 2), n=400, person=person)


@cache
def excess_in_truth(size, i):
    "By how many standard errors of independent answers a mirrored model is truly worse, study i."
    people = faulty_study(i)
    p = people['p']
    further = np.log(p.mean(0)) - np.log(mirrored(people, size))
    mean = (p*further).sum(2).mean()
    variance = (p*further**2).sum(2).mean() - mean**2
    return mean/np.sqrt(variance/p[..., 0].size)


def power(fault, size, i):
    "Whether the section that should find a fault does, in study i."
    person = size if fault == 'correlations' else 0.
    people = faulty_study(i, person)
    records = recorded(people, bool(i % 2))
    plant, section, _, reads = FAULTS[fault]
    q = plant(people, size)
    if fault == 'position':
        frames = dict(model=favouring_the_first(said(records, q), size))
        text = SECTIONS[section](material(records, frames, i)).finding
    else:
        rivals = {'marginal': people['p'].mean(0)} if fault == 'score' else {'uniform': UNIFORM}
        text = studied(records, q, rivals, i, [section])[section]
    return bool(re.search(reads or CLAIMS[section], text or ''))


# the tests of two sections by themselves

def mean_draws(people, n_boot, seed):
    "What gives weighted means of x (people, ...), then those of each draw; weights of clusters."
    w, psu = people['w'], people['psu']
    draws = np.vstack(list(resamples(psu.max() + 1, n_boot, seed)))

    def cluster_sums(x):
        sums = np.zeros((psu.max() + 1, *x.shape[1:]))
        np.add.at(sums, psu, x)
        return sums

    weight = cluster_sums(w)

    def means(x):
        flat = (w*x.T).T.reshape(len(x), -1)
        total = draws @ cluster_sums(flat)/(draws @ weight)[:, None]
        return total.reshape(len(draws), *x.shape[1:])

    return means, weight


def an_item_claimed(people, n_boot, seed):
    "Whether any item is shown to be further from people than sampling explains."
    means, weight = mean_draws(people, n_boot, seed)
    shares = means(np.eye(K)[people['y']])
    model = np.average(people['p'], weights=people['w'], axis=0)
    own = wasserstein(shares[0], model, range(K))
    chance = wasserstein(np.broadcast_to(shares[0], shares[1:].shape), shares[1:], range(K))
    small = small_sample(weight)
    wide = dict(df=small['df'], stretch=small['stretch'])
    p = [chance_p(d, floor, **wide) for d, floor in zip(own, chance.T)]
    return bool((benjamini_hochberg(p) < .05).any())


def a_position_claimed(people, n_boot, seed):
    "Whether the perfect model is shown to favour a position, each option shown anywhere."
    p = people['p']
    order = np.random.default_rng([seed, 17]).permuted(np.broadcast_to(range(K), p.shape), axis=2)
    free = np.broadcast_to(np.average(p, weights=people['w'], axis=0), p.shape)
    excess = np.take_along_axis(p, order, 2) - np.take_along_axis(free, order, 2)
    means, weight = mean_draws(people, n_boot, seed)
    each = means(excess.mean(1))
    tests = [cluster_interval(d, weight=weight, test=True)['p'] for d in each.T]
    return K*min(tests) < .05


def levels(studies, path):
    "Per cent of studies in which a perfect model is claimed something of, by design and draws."
    rows = []
    for items, clustered, weighted, draws in product(
            (3, 5, 8, 30), (False, True), (False, True), (100, 500)):
        claimed = []
        for i in range(studies):
            rng = np.random.default_rng([i, items, clustered, weighted, 19])
            people = made_up(rng, items, clustered, weighted)
            claimed.append((an_item_claimed(people, draws, i),
                a_position_claimed(people, draws, i)))
        of_items, of_positions = (100*np.mean(claimed, axis=0)).round(2)
        rows.append(dict(items=items, clustered=clustered, weighted=weighted, draws=draws,
            studies=studies, an_item=of_items, a_position=of_positions))
        path.write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
        print(rows[-1], flush=True)


def main():
    ask = Options(__file__, __doc__)
    ask.add_argument('what', choices=FILES, nargs='?', default='null')
    ask.size('--studies', 200, quick=4)
    ask.add_argument('--seconds', type=float, default=1e9)
    args = ask.parse_args()
    warnings.simplefilter('ignore')
    datasets.disable_progress_bars()
    without_plots()
    path = args.out.with_name(FILES[args.what])
    if args.what == 'levels':
        return levels(args.studies, path)
    start = time.perf_counter()
    found = json.loads(path.read_text(encoding='utf-8')) if path.exists() else dict(studies=[])
    done = {(r['study'], r.get('fault'), r.get('size')) for r in found['studies']}
    for i in range(args.studies):
        left = [kind for kind in kinds(args.what) if (i, *kind) not in done]
        if not left or time.perf_counter() - start > args.seconds:
            continue
        found['studies'] += [one_study(i, *kind) for kind in left]
        path.write_text(json.dumps(found), encoding='utf-8')
    summary(path, found, args.what)


def without_plots():
    for plot in ('plot_scores', 'plot_shares', 'plot_reliability', 'plot_correlations', '_dotplot'):
        setattr(sections, plot, lambda *a, **k: None)


def kinds(what):
    "Pairs of a fault and its size; the perfect model has neither."
    if what == 'null':
        return [(None, None)]
    return [(fault, size) for fault, (_, _, sizes, _) in FAULTS.items() for size in sizes]


def one_study(i, fault, size):
    if fault is None:
        return dict(study=i, **perfect(i))
    return dict(study=i, fault=fault, size=size, found=power(fault, size, i))


def summary(path, found, what):
    "Writes in how many studies a section made a claim, or found a fault."
    t = pd.DataFrame(found['studies'])
    if what == 'null':
        made = {name: t[name].dropna().astype(bool) for name in CLAIMS}
        found['claims'] = {name: dict(studies=len(claimed), claimed=int(claimed.sum()))
            for name, claimed in made.items()}
    else:
        found['power'] = []
        for fault, size in kinds(what):
            of = t.found[(t.fault == fault) & (t['size'] == size)]
            row = dict(fault=fault, size=size, studies=len(of), found=int(of.sum()))
            if fault == 'score':
                errors = [excess_in_truth(size, i) for i in t.study[of.index]]
                row |= dict(worse=int(np.sum(np.array(errors) > 0)),
                    errors=round(float(np.median(errors)), 1))
            found['power'].append(row)
    path.write_text(json.dumps(found), encoding='utf-8')
    print(len(t), found.get('claims') or found.get('power'), flush=True)


if __name__ == '__main__':
    main()
