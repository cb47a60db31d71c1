"""Is the estimate before a fine-tuning run any good? Predicted against measured, for three sizes of run with the embedded model.

Each run is a process of its own: what `sft` predicts before its first step, then the seconds that training took and the process's peak of resident memory.
Run: python benchmarks/fit_estimate.py [--runs small options padded] [--quick]. Writes benchmarks/fit_estimate.json."""
import argparse, json, resource, subprocess, sys, tempfile
from pathlib import Path
from options import Options

RUNS = {    # respondents, items of each, settings
    'small': (12, 3, dict(loss='answer', batch=8, max_tokens=512, epochs=1)),
    'options': (12, 8, dict(loss='option', batch=32, max_tokens=2048, epochs=1)),
    'padded': (12, 2, dict(loss='answer', batch=8, micro=4, epochs=1, share_prefixes=False))}


def one(name, respondents):
    "Train, and print what was predicted and what was measured."
    from alignsurvey.models.loading import load_model
    from alignsurvey.records.orders import reorder
    from alignsurvey.training.trainer import sft
    from alignsurvey.all import Survey
    _, items, settings = RUNS[name]
    gss = Survey.load('gss2018')
    records = reorder(gss.records('response', items=list(gss.codebook.items)[:items], respondents=respondents, answer_form='text', verbose=False), 'shuffle')
    with tempfile.TemporaryDirectory() as folder:
        sft(load_model(), records, Path(folder)/'a', lr=1e-3, **settings)
        card = json.loads((Path(folder)/'a'/'sft.json').read_text(encoding='utf-8'))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024
    print(json.dumps(dict(records=len(records), steps=card['steps'], tokens_a_step=card['fit']['tokens'], seconds_predicted=card['fit']['seconds'], seconds=card['seconds'],
                          memory_predicted=card['fit']['memory'], memory=peak, of_seconds=round(card['fit']['seconds']/card['seconds'], 2), of_memory=round(card['fit']['memory']/peak, 2))))


if __name__ == '__main__':
    p = Options(__file__, __doc__)
    p.size('--runs', list(RUNS), quick=['small'], choices=RUNS)
    p.size('--respondents', 0, quick=4, help='0: as many as each run has')
    p.add_argument('--one', help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.one: one(args.one, args.respondents)
    else:
        found = {}
        for name in args.runs:
            done = subprocess.run([sys.executable, __file__, '--one', name, '--respondents', str(args.respondents or RUNS[name][0])], check=True, stdout=subprocess.PIPE, text=True)
            found[name] = json.loads(done.stdout.splitlines()[-1])
            print(name, json.dumps(found[name]))
        args.out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
