"""How often do 95 % intervals hold the truth? Made-up surveys of 20 designs (respondents, clusters, spread of weights, correlation within clusters), each drawn anew
many times: a share and a paired difference with linearised intervals, the Wasserstein distance and the log score with bootstrap intervals.

Run: python benchmarks/coverage.py [replications, default 40; 4000 takes hours] [--draws 200]. Prints a table; the last column says within how many points a
coverage of 95 % is known with so few replications. The distance's truth is what `interval` says it is for: the mean distance that a sample of this size shows."""
import argparse, sys, time
import numpy as np, pandas as pd
from alignsurvey.design import means, shares, survey_design
from alignsurvey.intervals import interval, resamples
from alignsurvey.metrics import wasserstein

P, K = np.array([.1, .2, .3, .25, .15]), 5
MODEL, OTHER = np.array([.02, .08, .2, .4, .3]), np.array([.2, .2, .2, .2, .2])
DESIGNS = [(n, c, cv, icc) for n, c in ((50, 50), (200, 200), (2000, 2000), (200, 2), (500, 10), (600, 30), (2000, 60)) for cv, icc in ((0, 0), (.5, .05), (1.5, .2))
    if not (c == n and icc and cv == .5)]
DESIGNS = (DESIGNS + [(1000, 40, .5, .1), (400, 20, 1., .1)])[:20]


def drawn(rng, n, clusters, cv, icc):
    "Answers (n,), weights and clusters of one made-up survey: a member of a cluster repeats its cluster's answer with probability icc."
    at, own = np.arange(n)*clusters//n, rng.choice(K, n, p=P)
    shared = rng.choice(K, clusters, p=P)[at]
    repeat = rng.random(n) < np.sqrt(icc)*(clusters < n)
    s = np.sqrt(np.log(1 + cv**2))
    return np.where(repeat, shared, own), np.exp(s*rng.normal(size=n)), at


def one(rng, design, draws):
    "Estimate, low and high of each target."
    y, w, at = drawn(rng, *design)
    d = survey_design(pd.DataFrame(dict(y=y, w=w, at=at)), weight='w', psu='at')
    top = shares(d, (y >= 3).astype(int)).set_index('answer').loc['1']
    score = lambda q: ((np.eye(K)[y] - q)**2).sum(1)
    gap = means(d, score(MODEL) - score(OTHER)).iloc[0]
    sums = np.zeros((design[1], K + 1))
    np.add.at(sums, at, w[:, None]*np.c_[np.eye(K)[y], -np.log(MODEL[y])])
    total = np.vstack([b @ sums for b in resamples(design[1], draws, int(rng.integers(2**31)), stratum=np.zeros(design[1], int))])
    total = total/total[:, :K].sum(1, keepdims=True)
    far = wasserstein(total[:, :K], np.broadcast_to(MODEL, (len(total), K)), range(K))
    return {'share': (top.estimate, top.ci_low, top.ci_high), 'paired difference': (gap.estimate, gap.ci_low, gap.ci_high),
        'wasserstein': (far[0], *interval(far, centre=True)), 'log score': (total[0, K], *interval(total[:, K]))}


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument('replications', type=int, nargs='?', default=40)
    ask.add_argument('--draws', type=int, default=200)
    args, start, rows = ask.parse_args(), time.perf_counter(), []
    brier = lambda q: (P*((np.eye(K) - q)**2).sum(1)).sum()
    truth = {'share': P[3:].sum(), 'paired difference': brier(MODEL) - brier(OTHER), 'log score': -(P*np.log(MODEL)).sum()}
    for i, design in enumerate(DESIGNS):
        rng = np.random.default_rng(i)
        found = [one(rng, design, args.draws) for _ in range(args.replications)]
        row = dict(zip(('respondents', 'clusters', 'weights_cv', 'icc'), design))
        for t in found[0]:
            v, low, high = np.array([f[t] for f in found], float).T
            true = truth.get(t, v.mean())
            row[t] = round(100*np.mean((low <= true) & (true <= high)), 1)
        rows.append({**row, 'known_within': round(196*np.sqrt(.95*.05/args.replications), 1)})
        print(f'{i + 1} of {len(DESIGNS)} designs, {time.perf_counter() - start:.0f} s', file=sys.stderr)
    print(f'Coverage of 95 % intervals in percent, {args.replications:,} replications, {args.draws} draws')
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == '__main__': main()
