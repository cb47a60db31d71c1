"""What does a full report claim of a perfect model, and what does it find of a faulty one? Made-up people whose chances of each answer follow their age
and sex; with and without clusters (correlation .05 within), with and without weights (cv 1), 3 to 30 items. The perfect model says these chances. Every
sentence of every section is read, and a claim is what a reader would take for a finding against the model. Then each of seven faults is planted at two
sizes and the section that should find it is made.

Sections are made as `full_report` makes them, with 100 draws; plots are not drawn.

Run: python benchmarks/claims.py null|faults [--studies 200] [--seconds 1200]. Writes claims.json after each study: claims by section, families
of claims (any in a section), and power by fault and size. It stops when the time is over, and goes on from where it was."""
import argparse, json, re, time, warnings
from pathlib import Path
import datasets, numpy as np, pandas as pd
from scipy.stats import norm
from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.records.orders import reorder
from alignsurvey.records.reading import make_records
from alignsurvey.reporting import sections
from alignsurvey.reporting.sections import SECTIONS, Material, tried

OUT, N, K = Path(__file__).with_suffix('.json'), 300, 3
datasets.disable_progress_bars()
for plot in ('plot_scores', 'plot_shares', 'plot_reliability', 'plot_correlations', '_dotplot'): setattr(sections, plot, lambda *a, **k: None)
FORMULA = 'q0 ~ age + sex'
# what a finding against the model reads like, by section; 'not shown' never matches
CLAIMS = {'scores': r'(?<!not )\bworse than', 'items': r'^[1-9]\d* of \d+ items are shown', 'subgroups': r'groups differ by', 'calibration': r'Miscalibration costs|: too sure|: not sure enough',
    'position of options': r'its share is off by', 'structure': r": too alike|: too varied|items are off by|, [1-9]\d* of \d+ coefficients are shown"}


def answered(rng, p, psu, icc):
    "Answers (people, items) with chances p (people, items, K); members of a cluster lean the same way."
    z = norm.cdf(np.sqrt(icc)*rng.normal(size=(psu.max() + 1, p.shape[1]))[psu] + np.sqrt(1 - icc)*rng.normal(size=p.shape[:2]))
    return (z[..., None] > p.cumsum(2)[..., :-1]).sum(2)


def people(rng, items, clustered, weighted, n=N, effect=.5, person=0.):
    "Records in shuffled order, chances of each answer (people, items, K), and people's background."
    age, sex = rng.integers(0, 3, n), rng.integers(0, 2, n)
    lean = effect*((age - 1)[:, None]*rng.choice([-1, 1], items) + (sex - .5)[:, None]*rng.choice([-1, 1], items))
    logit = rng.normal(scale=.5, size=(items, K)) + lean[..., None]*(np.arange(K) - 1)
    if person: logit = logit + person*rng.normal(size=(n, 1, 1))*(np.arange(K) - 1)
    p = np.exp(logit)/np.exp(logit).sum(2, keepdims=True)
    psu = np.arange(n)*20//n if clustered else np.arange(n)
    y, w = answered(rng, p, psu, .05*clustered), rng.lognormal(sigma=np.sqrt(np.log(2))*weighted, size=n)
    words = [f'o{k}' for k in range(K)]
    rows = [dict(task='response', instruction=f'{j}?\nA. o0\nB. o1\nC. o2', output=f'o{v}', options=words, answer_index=int(v), answer_form='text', scale='ordinal', positions=[0., 1., 2.], source='made_up', respondent_id=str(i), question_id=f'q{j}',
        weight=float(w[i]), psu=str(psu[i]) if clustered else None, groups=dict(age=str(age[i]), sex=str(sex[i]))) for (i, j), v in np.ndenumerate(y)]
    return reorder(make_records(rows), 'shuffle'), p, (age, sex)


def said(records, q):
    "Predictions from q (people, items, K), options as displayed."
    at = zip(records['respondent_id'][:], records['question_id'][:], records['options'][:])
    probs = [[float(q[int(i), int(j[1:]), int(o[1:])]) for o in options] for i, j, options in at]
    return pd.DataFrame(dict(record_id=records['record_id'][:], status='ok', elicitation='score', probs=probs))


def studied(records, q, rivals, seed, names=None):
    "Every section's finding, by name; None where it could not be made."
    frames = {**{k: said(records, np.broadcast_to(r, q.shape)) for k, r in rivals.items()}, 'model': said(records, q)}
    boot, versus = dict(n_boot=100, seed=seed, strata=False), list(rivals)
    scores = evaluate(records, frames, baselines=False, versus=versus, models=['model'], n_boot=100, seed=seed) if names is None or {'scores', 'items'} & {*names} else pd.DataFrame()
    s = Material(records=records, frames=frames, all_records=records, all_frames=dict(model=frames['model']), train=None, models=['model'], baselines=list(rivals), versus=versus, scores=scores, metric='log_score',
        stated=True, by=['age', 'sex'], rule='missing', boot=boot, skipped=[], formula=FORMULA)
    made = {name: tried(s, name, lambda: SECTIONS[name](s)) for name in names or CLAIMS}
    return {name: x and x.finding for name, x in made.items()}


def perfect(i):
    "One study of a perfect model: its design and what each section says."
    rng = np.random.default_rng([i, 11])
    design = dict(questions=(3, 3, 5, 8, 3, 5, 8, 30)[i//4 % 8], clustered=bool(i % 2), weighted=bool(i//2 % 2))
    records, p, _ = people(rng, *design.values())
    rough = rng.multinomial(1000, p.mean(0)/p.mean(0).sum(1, keepdims=True))/1000    # what a thousand others said
    found = studied(records, p, {'uniform': np.full(K, 1/K), 'marginal': np.maximum(rough, 1e-3)}, i)
    return {**design, **{name: None if text is None else bool(re.search(CLAIMS[name], text)) for name, text in found.items()}}


def power(rng, fault, size, i):
    "Whether the section that should find a fault does."
    clustered, weighted = bool(i % 2), bool(i//2 % 2)
    plain = dict(items=3, clustered=clustered, weighted=weighted)
    rivals = {'uniform': np.full(K, 1/K)}
    records, p, (age, sex) = people(rng, **plain, person=size if fault == 'correlations' else 0., n=400)
    rivals, section, claim = {'uniform': np.full(K, 1/K)}, 'structure', None
    if fault == 'score': q, rivals, section = p[:, :, ::-1]*size + p*(1 - size), {'marginal': p.mean(0)}, 'scores'
    elif fault == 'item':
        q, section = p.copy(), 'items'
        q[:, 0] = q[:, 0]*(1 - size) + size*np.eye(K)[p[:, 0].mean(0).argmin()]
    elif fault == 'calibration': q, section = p**size/(p**size).sum(2, keepdims=True), 'calibration'
    elif fault == 'position': q, section = p, 'position of options'
    elif fault == 'variance': q, claim = p*(1 - size) + size*np.eye(K)[1], ': too alike'
    elif fault == 'correlations': q, claim = np.broadcast_to(p.mean(0), p.shape), 'items are off by'
    elif fault == 'coefficient':
        lean = -size*(age - 1)[:, None, None]*(np.arange(K) - 1)*np.array([1, 0, 0])[:, None]
        up = p*np.exp(lean*np.sign(np.corrcoef(age, p[:, 0, 2])[0, 1]))
        q, claim = up/up.sum(2, keepdims=True), r'[1-9]\d* of \d+ coefficients are shown'
    if fault == 'position':
        frame = said(records, q)
        frame['probs'] = [[(1 - size)*x + size*(k == 0) for k, x in enumerate(probs)] for probs in frame.probs]
        s = Material(records=records, frames=dict(model=frame), all_records=records, all_frames={}, train=None, models=['model'], baselines=[], versus=[], scores=None, metric='log_score', stated=True, by=[], rule='missing',
            boot=dict(n_boot=100, seed=i, strata=False), skipped=[])
        text = SECTIONS[section](s).finding
    else: text = studied(records, q, rivals, i, [section])[section]
    return bool(re.search(claim or CLAIMS[section], text or ''))


# a fault's two sizes: share of the mirror image; share moved to one option of one item; power of probabilities; share given to the first place; share moved to the middle; a
# person's own lean, which the model does not know; how far the effect of age is off, in log odds
FAULTS = dict(score=(.3, .5), item=(.1, .2), calibration=(1.5, 2.), position=(.05, .1), variance=(.15, .3), correlations=(.7, 1.2), coefficient=(.4, .8))


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument('what', choices=['null', 'faults'])
    ask.add_argument('--studies', type=int, default=200)
    ask.add_argument('--seconds', type=float, default=1e9)
    args, start = ask.parse_args(), time.perf_counter()
    warnings.simplefilter('ignore')
    path = OUT if args.what == 'null' else OUT.with_name('claims_faults.json')
    found = json.loads(path.read_text()) if path.exists() else {}
    rows = found.setdefault('studies', [])
    for i in range(args.studies):
        for fault, size in [(None, None)] if args.what == 'null' else [(f, s) for f, sizes in FAULTS.items() for s in sizes]:
            if any(r['study'] == i and r.get('fault') == fault and r.get('size') == size for r in rows): continue
            if time.perf_counter() - start > args.seconds: return summary(path, found, args.what)
            rows.append(dict(study=i, **(perfect(i) if fault is None else dict(fault=fault, size=size, found=power(np.random.default_rng([i, 13]), fault, size, i)))))
        summary(path, found, args.what)


def summary(path, found, what):
    "Per cent of studies with a claim, by section; or that found a fault."
    t = pd.DataFrame(found['studies'])
    if what == 'null': found['claims'] = {name: dict(studies=int(t[name].notna().sum()), claimed=int(t[name].fillna(False).astype(bool).sum())) for name in CLAIMS}
    else: found['power'] = [dict(fault=f, size=s, studies=len(g), found=int(g.found.sum())) for (f, s), g in t.groupby(['fault', 'size'], sort=False)]
    path.write_text(json.dumps(found))
    print(len(t), found.get('claims') or found.get('power'), flush=True)


if __name__ == '__main__': main()
