"""How often do 95 % intervals hold the truth? Made-up surveys of 20 designs, each drawn anew thousands of times: a share and a paired
difference with linearised intervals; the paired difference again, the log score and two Wasserstein distances, to a model far off and to one
close by, with intervals from resamples. All are the library's own (`design.shares`, `design.means`, `intervals.interval`); the linearised ones
are computed for many surveys at once and checked against the library's on the first of each hundred.

Run: python benchmarks/coverage.py [--replications 4000] [--draws 1000]. Writes coverage.json after each design, and goes on from it where it
was stopped; then coverage.csv and coverage.png. A distance is judged against the population's; `near, as a sample shows it` against the mean
distance that samples of this size show, as its interval promises."""
import argparse, json, sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np, pandas as pd
from scipy.special import expit, logit
from scipy.stats import t as student
from alignsurvey.estimation.design import means, shares, survey_design
from alignsurvey.estimation.bootstrap import interval, resamples, small_sample
from alignsurvey.metrics.distances import wasserstein

HERE, P, K, MANY = Path(__file__).with_suffix(''), np.array([.1, .2, .3, .25, .15]), 5, 100
FAR, NEAR, FLAT = np.array([.02, .08, .2, .4, .3]), np.array([.12, .22, .28, .24, .14]), np.full(K, .2)
BRIER = lambda q: ((np.eye(K) - q)**2).sum(1)
# what is known of a respondent by answer: five shares, the log score, the difference of two Brier scores, whether it is one of the last two
KNOWN = np.c_[np.eye(K), -np.log(FAR), BRIER(FAR) - BRIER(FLAT), np.arange(K) >= 3]
TRUTH = {'share': P[3:].sum(), 'paired difference': P @ KNOWN[:, 6], 'paired difference, resampled': P @ KNOWN[:, 6], 'log score': P @ KNOWN[:, 5],
    'wasserstein far': wasserstein(P, FAR, range(K)), 'wasserstein near': wasserstein(P, NEAR, range(K))}
# respondents, clusters, strata, spread of weights (standard deviation over mean), correlation within clusters
DESIGNS = ((50, 50, 1, 0., 0.), (50, 50, 1, .5, 0.), (50, 50, 1, 1.5, 0.), (200, 200, 1, 0., 0.), (200, 200, 1, 1., 0.), (200, 200, 1, 1.5, 0.),
    (500, 500, 10, .5, 0.), (2000, 2000, 1, 0., 0.), (2000, 2000, 1, 1.5, 0.), (200, 2, 1, 0., .05), (200, 2, 1, .5, .2), (500, 10, 1, 0., .05),
    (500, 10, 5, 1.5, .2), (400, 20, 1, 1., .1), (600, 30, 1, 0., 0.), (600, 30, 1, .5, .05), (600, 30, 10, 1.5, .2), (1000, 40, 20, .5, .1),
    (2000, 60, 1, .5, .05), (2000, 60, 30, 1.5, .2))


def drawn(rng, n, clusters, strata, cv, icc, p=P):
    """Answers and weights (surveys, n), cluster of each respondent and stratum of each cluster. A member of a cluster repeats its cluster's
    answer with the root of icc; every other stratum leans to low answers, the rest to high ones."""
    at, stratum = np.arange(n)*clusters//n, np.arange(clusters)*strata//clusters
    lean = np.where(stratum % 2, 1, -1)*.05*(strata > 1)
    cut = (p + lean[:, None]*np.array([1, .5, 0, -.5, -1])).cumsum(1)[:, :-1]
    choose = lambda cut: (rng.random((MANY, len(cut), 1)) > cut).sum(2)
    own, shared = choose(cut[at]), choose(cut)[:, at]
    repeat = rng.random((MANY, n)) < np.sqrt(icc)*(clusters < n)
    s = np.sqrt(np.log(1 + cv**2))
    return np.where(repeat, shared, own), np.exp(s*rng.normal(size=(MANY, n))), at, stratum


def linearised(sums, stratum, column, share):
    "Estimate, low and high (surveys,) from weighted sums by cluster (surveys, clusters, F): what `design.means` and `design.shares` do."
    top, bottom, strata = sums[..., column], sums[..., -1], stratum.max() + 1
    value = top.sum(1)/bottom.sum(1)
    z = (top - value[:, None]*bottom)/bottom.sum(1)[:, None]
    size, member = np.bincount(stratum), np.eye(strata)[stratum]
    off = z - (z @ member/size)[:, stratum]
    se = np.sqrt((off**2 @ member*(size/(size - 1))).sum(1))
    reach = student.ppf(.975, len(stratum) - strata)*se
    if not share: return value, value - reach, value + reach
    with np.errstate(divide='ignore', invalid='ignore'): return value, *(expit(logit(value) + d*reach/(value*(1 - value))) for d in (-1, 1))


def agrees(y, w, at, stratum, found):
    "The first survey by the library's own functions."
    d = survey_design(pd.DataFrame(dict(w=w, at=at, h=stratum[at])), weight='w', psu='at', stratum='h')
    share, pair = shares(d, (y >= 3).astype(int)).set_index('answer').loc['1'], means(d, KNOWN[y, 6]).iloc[0]
    for row, name in ((share, 'share'), (pair, 'paired difference')):
        assert np.allclose([v[0] for v in found[name]], [row.estimate, row.ci_low, row.ci_high], rtol=1e-9), name


def hundred(i, chunk, draws):
    "Value, low and high of each target in a hundred surveys, each (surveys,), and the distance that sampling alone gives them."
    rng, (n, clusters, strata, cv, icc) = np.random.default_rng([i, chunk]), DESIGNS[i]
    y, w, at, stratum = drawn(rng, *DESIGNS[i])
    x = np.concatenate([KNOWN[y]*w[..., None], w[..., None]], 2)
    sums = np.add.reduceat(x, np.searchsorted(at, np.arange(clusters)), axis=1)
    found = {'share': linearised(sums, stratum, 7, True), 'paired difference': linearised(sums, stratum, 6, False)}
    agrees(y[0], w[0], at, stratum, found)
    flat, within = sums.transpose(1, 0, 2).reshape(clusters, -1), stratum if strata > 1 else None
    total = np.vstack([b @ flat for b in resamples(clusters, draws, int(rng.integers(2**31)), stratum=within)]).reshape(1 + draws, MANY, -1)
    mean, wide = total[..., :-1]/total[..., -1:], [small_sample(v, stratum=within) for v in sums[..., -1]]
    distance = lambda q: wasserstein(mean[..., :K], np.broadcast_to(q, (1 + draws, MANY, K)), range(K))
    for name, value, centre in (('paired difference, resampled', mean[..., 6], False), ('log score', mean[..., 5], False),
            ('wasserstein far', distance(FAR), True), ('wasserstein near', distance(NEAR), True)):
        found[name] = value[0], *np.array([interval(v, centre=centre, df=s['df'], stretch=s['stretch']) for v, s in zip(value.T, wide)]).T
    return found, wasserstein(mean[0, :, :K], np.broadcast_to(P, (MANY, K)), range(K))


def simulate(i, replications, draws):
    "One design's row: how many per cent of intervals hold the truth."
    parts = [hundred(i, c, draws) for c in range(-(-replications//MANY))]
    held = lambda name, true: round(100*np.mean([(low <= true) & (true <= high) for _, low, high in (found[name] for found, _ in parts)]), 1)
    floor, shown = np.mean([f for _, f in parts]), np.mean([found['wasserstein near'][0] for found, _ in parts])
    return {**dict(zip(('respondents', 'clusters', 'strata', 'weights_cv', 'icc'), DESIGNS[i])), **{t: held(t, v) for t, v in TRUTH.items()},
        'near, as a sample shows it': held('wasserstein near', shown),
        **{f'{k} over floor': round(TRUTH[f'wasserstein {k}']/floor, 1) for k in ('far', 'near')}}


def plot(table):
    import matplotlib; matplotlib.use('agg')
    import matplotlib.pyplot as plt, seaborn as sns
    sns.set_theme(style='white', font_scale=1.1)
    fig, ax = plt.subplots(figsize=(9, 6.5))
    ax.axvspan(93, 97, color='.9')
    for k, (name, mark) in enumerate(zip(TRUTH, 'osPD^v')):
        ax.plot(table[name].clip(60), np.arange(len(table)) + .1*(k - 2.5), mark, ms=5, label=name, alpha=.8)
    ax.set(yticks=range(len(table)), xlabel='% of intervals that hold the truth (60 and less at the left edge)', xlim=(59, 100.5),
        title=f'95 % intervals, {table.replications[0]:,} surveys of each design')
    strata = lambda r: f', {r.strata} strata' if r.strata > 1 else ''
    ax.set_yticklabels([f'{r.respondents:,} people in {r.clusters:,} clusters{strata(r)}; cv {r.weights_cv:g}, icc {r.icc:g}'
        for r in table.itertuples()], fontsize=9)
    ax.invert_yaxis(); ax.legend(frameon=False, fontsize=9, loc='lower left')
    sns.despine(); fig.tight_layout(); fig.savefig(HERE.with_suffix('.png'), dpi=90)


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument('--replications', type=int, default=4000)
    ask.add_argument('--draws', type=int, default=1000)
    args, path, start = ask.parse_args(), HERE.with_suffix('.json'), time.perf_counter()
    settings = dict(replications=-(-args.replications//MANY)*MANY, draws=args.draws)
    rows = [r for r in json.loads(path.read_text()) if settings.items() <= r.items()] if path.exists() else []
    for i, design in enumerate(DESIGNS):
        if any(tuple(r[k] for k in ('respondents', 'clusters', 'strata', 'weights_cv', 'icc')) == design for r in rows): continue
        rows.append({**simulate(i, **settings), **settings})
        path.write_text(json.dumps(rows, indent=1))
        print(f'{len(rows)} of {len(DESIGNS)} designs, {time.perf_counter() - start:.0f} s', file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(HERE.with_suffix('.csv'), index=False)
    plot(table)
    print(table.to_string(index=False))


if __name__ == '__main__': main()
