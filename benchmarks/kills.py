"""Kill -9 at random moments over one run, then finish: are the predictions those of an unbroken run, and was anything asked twice that was
not in flight?

Once with a tiny model on this machine, once against a server (tests/stub_server.py). Each start is a fork, so that a kill costs no import.
Run: make bench, or python benchmarks/kills.py [--kills 50] [--records 1000] [--out FILE.json] [--quick]. Writes kills.json and a plot beside itself."""
import os; os.environ |= dict(OMP_NUM_THREADS='1', TQDM_DISABLE='1')    # a forked process has no threads but its own
import json, random, signal, sqlite3, subprocess, sys, tempfile, time, urllib.request
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
import torch
from transformers import LlamaConfig, LlamaForCausalLM
import alignsurvey.prediction.local as local
from alignsurvey.models.loading import LM, load_model
from alignsurvey.prediction.elicitation import predict
from alignsurvey.records.reading import make_records
from alignsurvey.prediction.runs import compare_predictions
from alignsurvey.prediction.server import connect
from options import Options

BATCH, CONCURRENCY = 8, 8
HERE = Path(__file__).parent


def prompts(n):
    asks = [f'You are person {i}. Roads?\nA. too little\nB. too much' for i in range(n)]
    rows = [dict(record_id=f'r{i}', respondent_id=f'r{i}', instruction=p, output='A', answer_form='label') for i, p in enumerate(asks)]
    return make_records(rows, source='made')


def tiny():
    "A model of random weights behind the embedded model's tokenizer."
    tokenizer = load_model().tokenizer
    torch.manual_seed(0)
    shape = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
    return LM(LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).eval(), tokenizer, 'tiny', 'tiny')


def count_asked(path):
    "From now on, note each record that the model has answered in a file, before the journal hears of it."
    ask = local.ask_batch
    def noted(model, batch, *rest):
        answers = ask(model, batch, *rest)
        with open(path, 'a', encoding='utf-8') as f: f.write(''.join(r['record_id'] + '\n' for r in batch))
        return answers
    local.ask_batch = noted


@contextmanager
def stub(**settings):
    "The server in a process of its own: its address, and a callable that tells what it saw."
    process = subprocess.Popen([sys.executable, HERE.parent/'tests'/'stub_server.py', json.dumps(settings)], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        yield f'http://127.0.0.1:{port}/v1', lambda: json.load(urllib.request.urlopen(f'http://127.0.0.1:{port}/', timeout=60))
    finally:
        process.kill()
        process.wait()


def start(ask):
    "Run `ask` in a process of its own."
    if child := os.fork(): return child
    try: ask()
    finally: os._exit(0)


def answered(path):
    "Answers in a journal, also while it is written."
    try:
        with closing(sqlite3.connect(f'{path.as_uri()}?mode=ro', uri=True, timeout=60)) as db: return db.execute('select count(*) from answers').fetchone()[0]
    except sqlite3.OperationalError: return 0    # not made yet


def killed(ask, kills, path, rng, in_flight):
    """An unbroken run; one that is killed whenever a random number of answers is there, a random while later, and then finished;
    answers in its journal after each kill."""
    start_s = time.perf_counter()
    whole, seen = ask(path.with_name('whole.sqlite')), []
    while_s = (time.perf_counter() - start_s)*in_flight/len(whole)
    for target in sorted(rng.sample(range(len(whole) - in_flight), kills)):
        child = start(lambda: ask(path))
        while answered(path) < target and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None: time.sleep(.001)
        time.sleep(rng.uniform(0, while_s))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen.append(answered(path))
    return whole, ask(path), seen


def verdict(whole, finished, seen, counts, in_flight):
    "What came of it; `counts` says how often each record was answered, once of them by the unbroken run."
    counts, kills = [n - 1 for n in counts], sum(n < len(whole) for n in seen)
    return dict(records=len(whole), kills=kills, differences=compare_predictions(whole, finished), asked_twice=sum(max(n - 1, 0) for n in counts),
                at_most=kills*in_flight, asked=sum(n > 0 for n in counts), answered_at_kill=seen)


def on_this_machine(records, kills, folder, rng):
    lm, log = tiny(), folder/'asked.txt'
    count_asked(log)
    found = killed(lambda journal: predict(lm, records, journal=journal, batch=BATCH), kills, folder/'run.sqlite', rng, BATCH)
    return verdict(*found, Counter(log.read_text(encoding='utf-8').split()).values(), BATCH)


def on_a_server(records, kills, folder, rng):
    with stub(latency=.02) as (url, saw):
        server = connect('stub', base_url=url, concurrency=CONCURRENCY)
        server.probe()
        found = killed(lambda journal: predict(server, records, journal=journal), kills, folder/'run.sqlite', rng, CONCURRENCY)
        return verdict(*found, [n for p, n in saw()['served'].items() if p.startswith('You are')], CONCURRENCY)


def plot(results, path):
    import matplotlib; matplotlib.use('agg')
    import matplotlib.pyplot as plt, seaborn as sns
    fig, ax = plt.subplots(figsize=(7, 3))
    for (name, r), color in zip(results.items(), sns.color_palette('colorblind')):
        shares = [n/r['records'] for n in r['answered_at_kill']]
        found = f"{name}: {r['asked_twice']} asked twice, {len(r['differences'])} differences"
        ax.plot(range(1, len(shares) + 1), shares, '.-', color=color, label=found)
    ax.set(xlabel='kill', ylabel='share answered', title='Killed runs go on where they stopped', ylim=(0, 1))
    ax.legend(frameon=False); sns.despine(); fig.savefig(path, dpi=150, bbox_inches='tight')


if __name__ == '__main__':
    given = Options(__file__, __doc__)
    given.size('--kills', 50, quick=3)
    given.size('--records', 1000, quick=100)
    given.add_argument('--seed', type=int, default=0)
    given = given.parse_args()
    rng = random.Random(given.seed)
    records, results = prompts(given.records), {}
    for name, run in {'on this machine': on_this_machine, 'server': on_a_server}.items():
        with tempfile.TemporaryDirectory() as tmp: results[name] = run(records, given.kills, Path(tmp), rng)
    given.out.write_text(json.dumps(results, indent=1) + '\n', encoding='utf-8')
    plot(results, given.out.with_suffix('.png'))
    print(json.dumps({k: {c: v for c, v in r.items() if c != 'answered_at_kill'} for k, r in results.items()}, indent=1))
