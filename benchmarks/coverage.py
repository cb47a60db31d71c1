"""How often do 95 % intervals hold the truth? Made-up surveys of 25 designs, each drawn anew thousands of times: a share and a paired
difference with linearised intervals; the paired difference, the share and the log score again, and three Wasserstein distances, to a model far
off, to one close by and to one that is right, with intervals from resamples. All are the library's own; those that are computed for many
surveys at once are checked against the library's on the first of each hundred.

Run: python benchmarks/coverage.py [--replications 4000] [--draws 500] [--only rare] [--quick]. Writes coverage.json after each design, and goes on from
it where it was stopped; then coverage.csv and coverage.png. Every distance is judged against the population's. Rare answers, among few and
many people with even and uneven weights, are in coverage_rare.json."""
import json, sys, time
import numpy as np, pandas as pd
from scipy.stats import t as student
from alignsurvey.estimation.design import means, shares, survey_design, kish_n
from alignsurvey.estimation.bootstrap import chance_limit, cluster_interval, resamples, share_interval, small_sample
from alignsurvey.metrics.distances import wasserstein
from options import Options

P, K, MANY = np.array([.1, .2, .3, .25, .15]), 5, 100
FAR, NEAR, FLAT = np.array([.02, .08, .2, .4, .3]), np.array([.12, .22, .28, .24, .14]), np.full(K, .2)
BRIER = lambda q: ((np.eye(K) - q)**2).sum(1)
# what is known of a respondent by answer: five shares, the log score, the difference of two Brier scores, whether it is one of the last two
KNOWN = np.c_[np.eye(K), -np.log(FAR), BRIER(FAR) - BRIER(FLAT), np.arange(K) >= 3]
TRUTH = {'share': P[3:].sum(), 'paired difference': P @ KNOWN[:, 6], 'share, resampled': P[3:].sum(), 'paired difference, resampled': P @ KNOWN[:, 6],
    'log score': P @ KNOWN[:, 5], 'wasserstein far': wasserstein(P, FAR, range(K)), 'wasserstein near': wasserstein(P, NEAR, range(K)), 'wasserstein right': 0.}
# respondents, clusters, strata, spread of weights (standard deviation over mean), correlation within clusters, whether weights depend on answers
DESIGNS = ((100, 10, 5, 1., .05, True), (160, 16, 8, 1., .05, True), (300, 30, 15, 1., .05, True), (600, 60, 30, 1., .05, True), (150, 15, 5, 1., .05, True),
    *((*d, False) for d in ((50, 50, 1, 0., 0.), (50, 50, 1, .5, 0.), (50, 50, 1, 1.5, 0.), (200, 200, 1, 0., 0.), (200, 200, 1, 1., 0.), (200, 200, 1, 1.5, 0.),
    (500, 500, 10, .5, 0.), (2000, 2000, 1, 0., 0.), (2000, 2000, 1, 1.5, 0.), (200, 2, 1, 0., .05), (200, 2, 1, .5, .2), (500, 10, 1, 0., .05),
    (500, 10, 5, 1.5, .2), (400, 20, 1, 1., .1), (600, 30, 1, 0., 0.), (600, 30, 1, .5, .05), (600, 30, 10, 1.5, .2), (1000, 40, 20, .5, .1),
    (2000, 60, 1, .5, .05), (2000, 60, 30, 1.5, .2))))
FIELDS = ('respondents', 'clusters', 'strata', 'weights_cv', 'icc', 'informative')
TILT = .5    # informative weights: how much each answer more on the scale weighs, on the scale of logarithms


def drawn(rng, n, clusters, strata, cv, icc, informative=False, p=P):
    """Answers and weights (surveys, n), cluster of each respondent and stratum of each cluster. A member of a cluster repeats its cluster's
    answer with the root of icc; strata lean from low answers to high ones, so that their mean is p. Informative weights depend on the answer,
    which is drawn the more often the less it weighs: weighted shares are p all the same."""
    at, stratum = np.arange(n)*clusters//n, np.arange(clusters)*strata//clusters
    lean = np.linspace(-.05, .05, strata)[stratum] if strata > 1 else np.zeros(clusters)
    tilt = np.exp(TILT*(np.arange(K) - 2)) if informative else np.ones(K)
    shares = p + lean[:, None]*np.array([-1, -.5, 0, .5, 1])
    met = shares/tilt
    size = met.sum(1)
    cut = (met/size[:, None]).cumsum(1)[:, :-1]
    choose = lambda cut: (rng.random((MANY, len(cut), 1)) > cut).sum(2)
    own, shared = choose(cut[at]), choose(cut)[:, at]
    repeat = rng.random((MANY, n)) < np.sqrt(icc)*(clusters < n)
    y = np.where(repeat, shared, own)
    own_cv = (p*tilt).sum()*(p/tilt).sum() - 1    # what the tilt spreads by itself
    s = np.sqrt(np.log(max(1, (1 + cv**2)/(1 + own_cv))))
    return y, tilt[y]*size[at]*np.exp(s*rng.normal(size=(MANY, n))), at, stratum


def linearised(sums, stratum, column):
    "Estimate, low, high and standard error (surveys,) from weighted sums by cluster (surveys, clusters, F): what `design.means` and `design.shares` do."
    top, bottom, strata = sums[..., column], sums[..., -1], stratum.max() + 1
    value = top.sum(1)/bottom.sum(1)
    z = (top - value[:, None]*bottom)/bottom.sum(1)[:, None]
    size, member = np.bincount(stratum), np.eye(strata)[stratum]
    off = z - (z @ member/size)[:, stratum]
    se = np.sqrt((off**2 @ member*(size/(size - 1))).sum(1))
    reach = student.ppf(.975, len(stratum) - strata)*se
    return value, value - reach, value + reach, se


def agrees(y, w, at, stratum, found):
    "The first survey by the library's own functions."
    d = survey_design(pd.DataFrame(dict(w=w, at=at, h=stratum[at])), weight='w', psu='at', stratum='h')
    share, pair = shares(d, (y >= 3).astype(int)).set_index('answer').loc['1'], means(d, KNOWN[y, 6]).iloc[0]
    for row, name in ((share, 'share'), (pair, 'paired difference')):
        assert np.allclose([v[0] for v in found[name]], [row.estimate, row.ci_low, row.ci_high], rtol=1e-9), name


def hundred(i, chunk, draws):
    "Value, low and high of each target in a hundred surveys, each (surveys,), and the distance that sampling alone gives them."
    rng, (n, clusters, strata, *_) = np.random.default_rng([i, chunk]), DESIGNS[i]
    y, w, at, stratum = drawn(rng, *DESIGNS[i])
    x = np.concatenate([KNOWN[y]*w[..., None], w[..., None]], 2)
    sums = np.add.reduceat(x, np.searchsorted(at, np.arange(clusters)), axis=1)
    of_share, people = linearised(sums, stratum, 7), [kish_n(u) for u in w]
    limits = [share_interval(v, e, people=u, df=clusters - strata) for v, e, u in zip(of_share[0], of_share[3], people)]
    found = {'share': (of_share[0], *np.array(limits).T), 'paired difference': linearised(sums, stratum, 6)[:3]}
    agrees(y[0], w[0], at, stratum, found)
    flat, within = sums.transpose(1, 0, 2).reshape(clusters, -1), stratum if strata > 1 else None
    total = np.vstack([b @ flat for b in resamples(clusters, draws, int(rng.integers(2**31)), stratum=within)]).reshape(1 + draws, MANY, -1)
    mean, wide = total[..., :-1]/total[..., -1:], [small_sample(v, stratum=within) for v in sums[..., -1]]
    df, stretch = np.array([[s['df'], s['stretch']] for s in wide]).T
    t_limits = lambda v: (v[0], *(v[0] + d*student.ppf(.975, df)*stretch*v[1:].std(0) for d in (-1, 1)))
    for name, column in (('paired difference, resampled', 6), ('log score', 5)): found[name] = t_limits(mean[..., column])
    library = cluster_interval(mean[:, 0, 5], weight=sums[0, :, -1], stratum=within)
    assert np.allclose([v[0] for v in found['log score'][1:]], [library['ci_low'], library['ci_high']])
    se = stretch*mean[1:, :, 7].std(0)
    limits = [share_interval(v, e, people=u, df=d) for v, e, u, d in zip(mean[0, :, 7], se, people, df)]
    found['share, resampled'] = mean[0, :, 7], *np.array(limits).T
    distance = lambda q: wasserstein(mean[..., :K], np.broadcast_to(q, (1 + draws, MANY, K)), range(K))
    chance = distance(mean[:1, :, :K])[1:]
    reach = np.array([chance_limit(c, df=d, stretch=s) for c, d, s in zip(chance.T, df, stretch)])
    for name, q in (('far', FAR), ('near', NEAR), ('right', P)):
        value, low, high = t_limits(distance(q))
        found[f'wasserstein {name}'] = value, np.maximum(0, np.minimum(low, value - reach)), high
    return found, wasserstein(mean[0, :, :K], np.broadcast_to(P, (MANY, K)), range(K))


def simulate(i, replications, draws):
    "One design's row: how many per cent of intervals hold the truth."
    parts = [hundred(i, c, draws) for c in range(-(-replications//MANY))]
    held = lambda name, true: round(100*np.mean([(low <= true + 1e-12) & (true <= high) for _, low, high in (found[name] for found, _ in parts)]), 1)
    floor = np.mean([f for _, f in parts])
    return {**dict(zip(FIELDS, DESIGNS[i])), **{t: held(t, v) for t, v in TRUTH.items()},
        **{f'{k} over floor': round(TRUTH[f'wasserstein {k}']/floor, 1) for k in ('far', 'near')}}


# true share, respondents, spread of weights; uneven weights that depend on the answer: those who give it weigh half or twice as much
RARE = [(p, n, cv, tilt) for p in (.005, .01, .02, .03) for n in (50, 100, 200, 500) for cv, tilt in ((0., 1.), (.5, 1.), (1., 1.), (1., .5), (1., 2.))]


def rare(p, n, cv, tilt, replications, rng):
    "How many per cent of intervals of a rare share hold it, from resamples of respondents and linearised."
    s, odds = np.sqrt(np.log(1 + cv**2)), p/tilt
    y = rng.random((replications, n)) < odds/(odds + 1 - p)
    w = np.exp(s*rng.normal(size=y.shape))*np.where(y, tilt, 1)
    held = dict(resampled=0, linearised=0)
    for ys, ws in zip(y, w):
        people, mean = kish_n(ws), ws @ ys/ws.sum()
        z = ws*(ys - mean)/ws.sum()
        small = small_sample(ws)
        for name, se, df in (('linearised', np.sqrt(n/(n - 1)*(z**2).sum()), n - 1), ('resampled', small['stretch']*np.sqrt((z**2).sum()), small['df'])):
            low, high = share_interval(mean, se, people=people, df=df)
            held[name] += low <= p <= high
    return dict(share=p, respondents=n, weights_cv=cv, tilt=tilt, **{k: round(100*v/replications, 1) for k, v in held.items()}, replications=replications)


def plot(table, path):
    import matplotlib; matplotlib.use('agg')
    import matplotlib.pyplot as plt, seaborn as sns
    sns.set_theme(style='white', font_scale=1.1)
    fig, ax = plt.subplots(figsize=(9, 7.5))
    ax.axvspan(93, 97, color='.9')
    for k, (name, mark) in enumerate(zip(TRUTH, 'osPDX^v<')):
        ax.plot(table[name].clip(60), np.arange(len(table)) + .1*(k - 3.5), mark, ms=5, label=name, alpha=.8)
    ax.set(yticks=range(len(table)), xlabel='intervals that hold the truth, % (left edge: 60 or less)', xlim=(59, 100.5),
        title=f'95 % intervals, {table.replications[0]:,} surveys of each design')
    strata = lambda r: f', {r.strata} strata' if r.strata > 1 else ''
    ax.set_yticklabels([f'{r.respondents:,} people in {r.clusters:,} clusters{strata(r)}; cv {r.weights_cv:g}, icc {r.icc:g}{", informative" if r.informative else ""}'
        for r in table.itertuples()], fontsize=9)
    ax.invert_yaxis(); ax.legend(frameon=False, fontsize=9, loc='lower left')
    sns.despine(); fig.tight_layout(); fig.savefig(path, dpi=90)


def main():
    ask = Options(__file__, __doc__)
    ask.size('--replications', 4000, quick=100)
    ask.size('--draws', 500, quick=100)
    ask.size('--designs', len(DESIGNS), quick=1, help='how many of them')
    ask.add_argument('--only', choices=['rare', 'designs'])
    args, start = ask.parse_args(), time.perf_counter()
    path = args.out
    if args.only != 'designs':
        found = [rare(*r, args.replications, np.random.default_rng(i)) for i, r in enumerate(RARE)]
        path.with_name('coverage_rare.json').write_text(json.dumps(found, indent=1), encoding='utf-8')
        print(pd.DataFrame(found).to_string(index=False), f'{time.perf_counter() - start:.0f} s')
    if args.only == 'rare': return
    settings = dict(replications=-(-args.replications//MANY)*MANY, draws=args.draws)
    rows = [r for r in json.loads(path.read_text(encoding='utf-8')) if settings.items() <= r.items()] if path.exists() else []
    for i, design in enumerate(DESIGNS[:args.designs]):
        if any(tuple(r.get(k) for k in FIELDS) == design for r in rows): continue
        rows.append({**simulate(i, **settings), **settings})
        path.write_text(json.dumps(rows, indent=1), encoding='utf-8')
        print(f'{len(rows)} of {args.designs} designs, {time.perf_counter() - start:.0f} s', {k: rows[-1][k] for k in (*FIELDS, *TRUTH)}, file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(path.with_suffix('.csv'), index=False)
    plot(table, path.with_suffix('.png'))
    print(table.to_string(index=False))


if __name__ == '__main__': main()
