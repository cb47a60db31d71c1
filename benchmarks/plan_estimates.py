"""What a plan says that a study takes, beside what its run needed.

    python benchmarks/plan_estimates.py [--quick] [--respondents 40] [--studies zero-shot tuned server]

Three studies: one that asks the embedded model in four specifications, one that trains it first, and one that asks a
server, here a stand-in on this machine that counts tokens with the embedded model's tokenizer. Each is planned and run in
processes of their own. Records, tokens and price are held against the journals, tokens after sharing against what went
into the model, memory against the peak of the process, time against the wall clock. The machine's load stands beside it,
because a plan is timed at one moment and a study runs at another. Writes plan_estimates.json beside this file, with the
plan's numbers over the run's."""
import contextlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from alignsurvey.files.writing import write_text
from alignsurvey.prediction.cost import run_status
from alignsurvey.prediction.elicitation import read_run
from alignsurvey.prediction.journal import Journal
from alignsurvey.study import Study
from options import Options

ROOT = Path(__file__).parents[1]
STUDY = '''
survey: gss2018
items: [natroad, natsoc, natmass, natpark, natchld, natsci]
background: [age, sex, race, educ, degree, wrkstat]
sample: {sample}
predictors:
  asked: {{{how}}}
baselines: [uniform, marginal]
primary: {{predictor: asked, versus: marginal, metric: brier, margin: 0.05}}
n_boot: 200
'''
TRAINING = 'training: {loss: option, answer_share: 0.1, lr: 0.001, batch: 8, micro: 4, epochs: 1}'
STUDIES = {    # name -> how many times the respondents; predictor; more of the file
    'zero-shot': (1, 'model: smollm2-135m', 'vary: {order: [keep, reverse], labels: [letters, numbers]}\n'),
    'tuned': (1, 'model: smollm2-135m, ' + TRAINING, ''),
    'server': (3, "model: stub, server: '{url}', prices: [2.5, 10], tokenizer: smollm2-135m", '')}


@contextlib.contextmanager
def watched(tokens, seconds):
    "Count the tokens that go into a model while it is asked, and the time."
    from alignsurvey.prediction import local
    ask = local.ask_batch

    def counted(asked, *given):
        hook = asked.lm.model.register_forward_pre_hook(
            lambda model, args, kw: tokens.append(kw['input_ids'].numel()), with_kwargs=True)
        start = time.perf_counter()
        try:
            return ask(asked, *given)
        finally:
            seconds.append(time.perf_counter() - start)
            hook.remove()

    local.ask_batch = counted
    yield
    local.ask_batch = ask


def plan(folder):
    "What a plan says."
    takes = Study.load(folder/'study.yaml').plan()['takes']['asked']
    more, trained = takes.get('specifications', {}), takes.get('training', {})
    said = dict(records=takes['records'])
    if 'requests' in takes:
        return said | dict(tokens=takes['prompt_tokens'], price=takes['price_from'])
    for key in ('tokens', 'tokens_after_sharing', 'seconds'):
        said[key] = takes[key] + more.get(key, 0)
    said['memory'] = max(part.get('memory', 0) for part in (takes, more, trained))
    return said | (dict(training_seconds=trained['seconds']) if trained else {})


def run(folder):
    "What a run needed."
    study, tokens, seconds = Study.load(folder/'study.yaml'), [], []
    with watched(tokens, seconds):
        study.run()
    journal = folder/'answers/asked.sqlite'
    with contextlib.closing(Journal(journal)) as log:
        frames = [read_run(journal, name) for name in log.runs()]
    needed = dict(records=len(frames[0]))
    if study.settings['predictors']['asked']['server']:
        status = run_status(journal)[0]
        with contextlib.closing(sqlite3.connect(journal)) as db:
            asked = db.execute("select total(json_extract(answer, '$.asked')) from answers").fetchone()[0]
        return needed | dict(tokens=int(asked), price=status['spent'])
    needed |= dict(tokens=int(sum(frame.tokens.sum() for frame in frames)), tokens_after_sharing=sum(tokens),
        seconds=round(sum(seconds), 1), memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024)
    card = folder/'adapters/asked/sft.json'
    return needed | (dict(training_seconds=json.loads(card.read_text())['seconds']) if card.exists() else {})


def apart(verb, folder):
    "Plan or run in a process of its own."
    done = subprocess.run([sys.executable, __file__, '--one', verb, folder], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compared(name, respondents, url):
    "Plan and run of one study, and the plan's numbers over the run's."
    times, how, more = STUDIES[name]
    with tempfile.TemporaryDirectory() as folder:
        how = how.format(url=url) if 'url' in how else how
        text = STUDY.format(sample=2*times*respondents, how=how)    # the other half trains
        (Path(folder)/'study.yaml').write_text(text + more, encoding='utf-8')
        said, needed = apart('plan', folder), apart('run', folder)
    over = {key: round(said[key]/needed[key], 4) for key in said if needed[key]}
    return dict(plan=said, run=needed, plan_over_run=over, load=round(os.getloadavg()[0], 1))


def main(names, respondents, out):
    stub = subprocess.Popen([sys.executable, ROOT/'tests/stub_server.py', '{"tokenizer": true}'],
        stdout=subprocess.PIPE, text=True)
    try:
        url, found = f'http://127.0.0.1:{int(stub.stdout.readline())}/v1', {}
        for name in names:
            found[name] = compared(name, respondents, url)
            print(name, json.dumps(found[name]), flush=True)
    finally:
        stub.kill()
    write_text(out, json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
    parser = Options(__file__, __doc__)
    parser.size('--respondents', 40, quick=2, help='who are asked; of the server three times as many')
    parser.size('--studies', list(STUDIES), quick=['server', 'zero-shot'], help='which', choices=list(STUDIES))
    parser.add_argument('--one', nargs=2, help='plan or run, and a folder: what this script asks of itself')
    given = parser.parse_args()
    if given.one:
        verb, folder = given.one
        print(json.dumps(dict(plan=plan, run=run)[verb](Path(folder))))
    else:
        main(given.studies, given.respondents, given.out)
