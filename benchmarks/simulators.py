"""What do simulated answers add to interviews, and can they do harm? Studies with 50 to 500 interviews and 4,000 simulated answers, by a simulator that knows people's chances, one that is
20 points off, and one that guesses; with even and uneven survey weights. Each study is drawn anew 4,000 times.

Run: python benchmarks/simulators.py [--replications 4000] [--quick]. Writes simulators.json and .csv: bias in standard errors of the mean, coverage of 95 % intervals (and of those of the interviews alone), and
how wide they are against those of the interviews alone, on average and at the widest."""
import json
import numpy as np, pandas as pd
from alignsurvey.estimation.ppi import ppi_mean
from options import Options

MORE, TRUE = 4000, .6


def study(rng, kind, n, cv):
    "One study's estimate."
    chance = rng.beta(1.2, .8, n + MORE)                                  # what people differ in; its mean is .6
    y = (rng.random(n) < chance[:n]).astype(float)
    f = dict(good=lambda: chance, biased=lambda: np.minimum(chance + .2, 1), useless=lambda: rng.random(n + MORE))[kind]()
    w = np.exp(np.sqrt(np.log(1 + cv**2))*rng.normal(size=n)) if cv else None
    return {**ppi_mean(y, f[:n], f[n:], weight=w), 'alone': np.average(y, weights=w)}


def main():
    ask = Options(__file__, __doc__)
    ask.size('--replications', 4000, quick=50)
    args, rows = ask.parse_args(), []
    for i, (kind, n, cv) in enumerate((k, n, cv) for k in ('good', 'biased', 'useless') for n, cv in ((50, 0), (200, 0), (200, .5), (500, 0))):
        rng = np.random.default_rng(i)
        f = pd.DataFrame([study(rng, kind, n, cv) for _ in range(args.replications)])
        wide = f.se/f.human_se
        rows.append(dict(simulator=kind, interviews=n, weights_cv=cv, bias_in_se=round((f.estimate.mean() - TRUE)/f.estimate.std()*np.sqrt(len(f)), 2), coverage=round(100*((f.low <= TRUE) & (TRUE <= f.high)).mean(), 1),
            coverage_alone=round(100*(abs(f.alone - TRUE) <= 1.959964*f.human_se).mean(), 1), width=round(wide.mean(), 4), width_at_most=round(wide.max(), 4), trust=round(f.trust.mean(), 2), worth=round(f.interviews.mean(), 1), replications=len(f)))
        args.out.write_text(json.dumps(rows, indent=1), encoding='utf-8')
    table = pd.DataFrame(rows)
    table.to_csv(args.out.with_suffix('.csv'), index=False)
    print(table.to_string(index=False))


if __name__ == '__main__': main()
