"""How often is a difference found where there is none? Answers spread alike around the middle option, and predictors that are mirror images of each other: every expected score is
the same. Paired tests of two predictors by four scores, and Holm's family of five predictors against a sixth, each of which takes one or the other image for each respondent by a coin.

Run: python benchmarks/false_positives.py [--replications 10000] [--draws 1000] [--quick]. Writes false_positives.json and .csv: per cent of tests, and of families, with p below .05."""
import json, sys, time
import numpy as np, pandas as pd
from alignsurvey.estimation.tests import holm
from alignsurvey.estimation.bootstrap import p_value, resamples, small_sample
from alignsurvey.metrics.scores import brier_scores, log_scores, rps_scores
from alignsurvey.metrics.distances import wasserstein
from coverage import MANY, drawn
from options import Options

EVEN, K, OTHERS = np.array([.1, .2, .4, .2, .1]), 5, 5
ONE = np.array([.1, .1, .25, .3, .25])
IMAGES, Y = (ONE, ONE[::-1]), np.arange(K)
SCORES = {n: np.array([f(Y, np.tile(q, (K, 1))) for q in IMAGES]) for n, f in dict(brier=brier_scores, log_score=log_scores, rps=rps_scores).items()}    # (image, answer)
# respondents, clusters, strata, spread of weights, correlation within clusters
DESIGNS = ((100, 100, 1, 0., 0.), (400, 400, 1, .5, 0.), (600, 40, 1, .5, .1), (600, 40, 10, 1., .05))


def hundred(rng, design, draws):
    "p values of a hundred surveys: of each score's paired test (surveys,), and Holm's of each family (surveys, 5)."
    n, clusters, strata, _, _ = design
    y, w, at, stratum = drawn(rng, *design, p=EVEN)
    coin = rng.integers(0, 2, (MANY, n, 1 + OTHERS))
    kinds = {m: SCORES[m][coin, y[..., None]] for m in ('brier', 'log_score')}
    x = np.concatenate([np.eye(K)[y], *((s[0] - s[1])[y][..., None] for s in SCORES.values()), *(k[..., 1:] - k[..., :1] for k in kinds.values())], 2)
    sums = np.add.reduceat(np.concatenate([x, np.ones((MANY, n, 1))], 2)*w[..., None], np.searchsorted(at, np.arange(clusters)), axis=1)
    flat = sums.transpose(1, 0, 2).reshape(clusters, -1)
    total = np.vstack([b @ flat for b in resamples(clusters, draws, int(rng.integers(2**31)), stratum=stratum if strata > 1 else None)]).reshape(1 + draws, MANY, -1)
    mean, small = total[..., :-1]/total[..., -1:], [small_sample(v, stratum=stratum if strata > 1 else None) for v in sums[..., -1]]
    far = [wasserstein(mean[..., :K], np.broadcast_to(q, (1 + draws, MANY, K)), range(K)) for q in IMAGES]
    tests = {**{m: mean[..., K + i] for i, m in enumerate(SCORES)}, 'wasserstein': far[0] - far[1]}
    p = lambda d: np.array([p_value(v, df=s['df'], stretch=s['stretch']) for v, s in zip(d.T, small)])
    first = K + len(SCORES)
    family = {m: np.column_stack([p(mean[..., first + i*OTHERS + j]) for j in range(OTHERS)]) for i, m in enumerate(kinds)}
    return {m: p(d) for m, d in tests.items()}, {m: np.array([holm(row) for row in v]) for m, v in family.items()}


def main():
    ask = Options(__file__, __doc__)
    ask.size('--replications', 10_000, quick=100)
    ask.size('--draws', 1000, quick=100)
    ask.size('--designs', len(DESIGNS), quick=1, help='how many of them')
    args, rows, start = ask.parse_args(), [], time.perf_counter()
    chunks = -(-args.replications//MANY)
    for i, design in enumerate(DESIGNS[:args.designs]):
        parts = [hundred(np.random.default_rng([i, c]), design, args.draws) for c in range(chunks)]
        wrong = lambda part, m: round(100*np.concatenate([(p[part][m] < .05) if part == 0 else (p[part][m] < .05).any(1) for p in parts]).mean(), 2)
        rows.append({**dict(zip(('respondents', 'clusters', 'strata', 'weights_cv', 'icc'), design)), **{m: wrong(0, m) for m in parts[0][0]}, **{f'{m}, family of {OTHERS}': wrong(1, m) for m in parts[0][1]},
            'known_within': round(196*np.sqrt(.05*.95/(chunks*MANY)), 2), 'replications': chunks*MANY, 'draws': args.draws})
        args.out.write_text(json.dumps(rows, indent=1), encoding='utf-8')
        print(f'{i + 1} of {args.designs} designs, {time.perf_counter() - start:.0f} s', file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    table.to_csv(args.out.with_suffix('.csv'), index=False)
    print(table.to_string(index=False))


if __name__ == '__main__': main()
