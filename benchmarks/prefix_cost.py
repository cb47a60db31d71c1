"""What does sharing prefixes cost and save, by items a respondent and by length of what is shared?
Does memory stay flat, and do bfloat16 and a dense mask pay?

The embedded model and the General Social Survey; 34 items are its items in two orders of their
options. Times are set beside the number of tokens that a trie has: where the one predicts the
other, the token count is the cost. `attributes`: twelve questions about one interview, as in
social role modelling.
Run: make bench, or python benchmarks/prefix_cost.py [--rounds 3] [--parts items …] [--quick].
Writes benchmarks/prefix_cost.json and .png."""
import argparse
import json
import subprocess
import sys
from collections import Counter
from functools import partial
import numpy as np
import torch
from datasets import concatenate_datasets
from alignsurvey.all import Survey
from alignsurvey.models.chat import answer_ids, prompt_ids
from alignsurvey.models.loading import load_model
from alignsurvey.models.prefix import grow_trie, prefix_batch, read_logprobs, shared_attention
from alignsurvey.records.orders import reorder
from prefix_scoring import asked, largest_difference, padded_tokens, ways
from prefix_training import alternate, command_line, keep, medians, peak_gib, step
from prefix_training import survey_records, trainers

TOLD = ('instruction', 'input')    # a record's parts that make its prompt
BLOCKS = (16, 32, 64, 128, 256)    # tokens of a block of attention
REMEMBERED = ('shared_letter', 'padded_letter', 'shared', 'train')    # a process for each
COLORS = dict(shared='#0072B2', padded='#D55E00')


def records_of(items):
    "So many items to each; more than the survey has are asked in a second order of their options."
    respondents = max(1, 16//items)
    if items <= 17:
        return survey_records(items, respondents)
    once = survey_records(items//2, respondents)
    return concatenate_datasets([once, reorder(once, 'shuffle', seed=1)])


def rounded(mid, digits):
    return {way: round(seconds, digits) for way, seconds in mid.items()}


def compare(lm, prompts, rounds):
    "Reading one token of each option, shared and padded, beside the tokens that each computes."
    letters = [[answer_ids(lm, letter)[:1] for letter in 'ABC']]*len(prompts)
    every = ways(lm, prompts, None, letters)
    run = dict(shared=every['shared_letter'], padded=every['padded_letter'])
    with torch.no_grad():
        mid = medians(alternate(run, rounds))
    tokens = dict(shared=len(grow_trie(prompts)), padded=padded_tokens(prompts))
    faster = mid['padded']/mid['shared']
    ratio = tokens['padded']/tokens['shared']
    return dict(prompts=len(prompts), tokens=tokens, seconds=rounded(mid, 4),
        faster=round(faster, 2), token_ratio=round(ratio, 2), part_of_ratio=round(faster/ratio, 3),
        largest_difference=largest_difference(run['shared'], run['padded']))


def by_items(lm, ask):
    "Asking so many items of each respondent."
    found = []
    for items in ask.items:
        prompts, _, _ = asked(lm, records_of(items))
        found.append(dict(items=items, **compare(lm, prompts, ask.rounds)))
    return found


def sharing(prompts, length):
    "A respondent's prompts, with what they share cut or repeated to so many tokens."
    first = prompts[0]
    common = next(k for k in range(len(first)) if len({p[k] for p in prompts}) > 1)
    shared = first[:common]*(length//common + 1)
    return [shared[:length] + p[common:] for p in prompts]


def by_length(lm, ask, items=6):
    "Asking six items of each of two respondents, by the tokens that the questions share."
    prompts, _, _ = asked(lm, survey_records(items, 2))
    found = []
    for length in ask.lengths:
        grown = []
        for i in range(0, len(prompts), items):
            grown += sharing(prompts[i:i + items], length)
        found.append(dict(length=length, **compare(lm, grown, ask.rounds)))
    return found


def attributes(lm, ask):
    "Twelve attributes of a person from one interview of the survey's items in two orders."
    every = Survey.load('gss2018').records('role', respondents=30, verbose=False)
    counts = Counter(every['respondent_id'])
    who = next(respondent for respondent, many in counts.items() if many == 11)
    rows = every.filter(lambda r: r['respondent_id'] == who).to_list()
    twelfth = {part: rows[0][part].replace('"age"', '"year of birth"') for part in TOLD}
    talk = rows[0]['history']
    prompts = []
    for row in [*rows, twelfth]:
        twice = [row[part].replace(talk, f'{talk}\n{talk}') for part in TOLD]
        prompts.append(prompt_ids(lm, *twice))
    shortest = min(map(len, prompts))
    assert shortest >= 800, 'the interviews are too short'
    assert len(set(map(tuple, prompts))) == 12, 'two questions are the same'
    return dict(shortest=shortest, **compare(lm, prompts, ask.rounds))


def training(lm, ask):
    "Training steps, forward and backward, by items a respondent, beside the tokens of the trie."
    found = []
    for items in ask.items:
        made = trainers(records_of(items), ['shared'])['shared']
        rows = made.train_dataset
        tokens = len(grow_trie([row['prompt'] + row['options'][0] for row in rows]))
        with shared_attention(made.model):
            mid = medians(alternate(dict(shared=step(made)), ask.rounds))
        seconds = round(mid['shared'], 4)
        found.append(dict(items=items, records=len(rows), tokens=tokens, seconds=seconds))
    return found


def in_bfloat16(run, result):
    "A way under autocast; it keeps a result of the run."
    def under():
        with torch.autocast('cpu', torch.bfloat16):
            run()
        under.found = getattr(run, result)
    return under


def bfloat16(lm, ask):
    "Time and equality under autocast, against float32; scoring and a training step."
    records = survey_records(17, 2)
    score = ways(lm, *asked(lm, records))['shared_letter']
    made = trainers(records, ['shared'])['shared']
    train = step(made)
    scoring = dict(bf16=in_bfloat16(score, 'found'), fp32=score)
    learning = dict(bf16=in_bfloat16(train, 'loss'), fp32=train)
    with torch.no_grad():
        score_seconds = medians(alternate(scoring, ask.rounds))
    with shared_attention(made.model):
        train_seconds = medians(alternate(learning, ask.rounds))
    return dict(
        scoring=dict(seconds=rounded(score_seconds, 3),
            largest_difference=largest_difference(score, scoring['bf16'])),
        training=dict(seconds=rounded(train_seconds, 3),
            loss=dict(fp32=train.loss, bf16=learning['bf16'].found)))


def forward(model, batch):
    return read_logprobs(model.eval(), batch).sum()


def forward_and_backward(model, batch):
    read_logprobs(model.train(), batch).sum().backward()


def forms(lm, ask):
    """Seconds of a pass, forward alone and with its backward, by the size of attention's blocks;
    the whole trie as one block is a dense mask."""
    made = trainers(survey_records(17, 2), ['shared'])['shared']
    prompts = made.train_dataset['prompt'][:]
    last = [len(p) - 1 for p in prompts]
    sizes = {str(size): size for size in BLOCKS} | dict(dense=len(grow_trie(prompts)))
    batches = {name: prefix_batch(prompts, last, size=size) for name, size in sizes.items()}
    read = {name: partial(forward, made.model, b) for name, b in batches.items()}
    learn = {name: partial(forward_and_backward, made.model, b) for name, b in batches.items()}
    with shared_attention(made.model):
        with torch.no_grad():
            asking = medians(alternate(read, ask.rounds))
        training = medians(alternate(learn, ask.rounds))
    return dict(tokens=sizes['dense'], asking=rounded(asking, 3), training=rounded(training, 3))


def peak_memory(what, respondents):
    "GiB of a process that does nothing but one pass of one way."
    command = [sys.executable, __file__, '--memory', what, str(respondents)]
    got = subprocess.run(command, capture_output=True, text=True, check=True)
    return round(float(got.stdout.split()[-1]), 2)


def memory(lm, ask):
    "GiB at the peak of a process that scores, or trains on, 17 items of so many respondents."
    found = {}
    for what in REMEMBERED:
        found[what] = {n: peak_memory(what, n) for n in (4, 40)}
    return found


def once(what, respondents):
    "One pass of one way, for its memory."
    records = survey_records(17, respondents)
    if what == 'train':
        made = trainers(records, ['shared'])['shared']
        with shared_attention(made.model):
            step(made)()
        return
    lm = load_model()
    run = ways(lm, *asked(lm, records))[what]
    with torch.no_grad():
        run()


def column(rows, name, way='shared'):
    "A value of each row, of one way where ways have values of their own."
    values = [row[name] for row in rows]
    return np.array([value[way] if isinstance(value, dict) else value for value in values])


def prices(rows, way='shared'):
    "Seconds a token of each row, and the one price that suits them best."
    each = column(rows, 'seconds', way)/column(rows, 'tokens', way)
    return each, np.exp(np.log(each).mean())


def misfit(rows):
    "How far times are from one price a token, at most: 0.25 is 25 %."
    each, best = prices(rows)
    return float(abs(each/best - 1).max())


def panel(ax, rows, x, many, drawn, **labels):
    "Milliseconds of one of so many, by ways: measured, and told by the number of tokens."
    import seaborn as sns
    places = [row[x] for row in rows]
    one = 1000/column(rows, many)
    for way in drawn:
        told = prices(rows, way)[1]*column(rows, 'tokens', way)
        how = dict(x=places, color=COLORS[way], ax=ax)
        sns.lineplot(y=one*column(rows, 'seconds', way), marker='o', label=way, **how)
        sns.lineplot(y=one*told, linestyle=':', label=f'{way}, from tokens', **how)
    ax.set(xlabel='', xscale='log', xticks=places, xticklabels=places, **labels)
    ax.set_ylim(0)
    ax.minorticks_off()


def plot(found):
    import matplotlib.pyplot as plt
    _, axes = plt.subplots(1, 3, figsize=(15, 4.2))
    panel(axes[0], found['items'], 'items', 'prompts', COLORS,
        title='Asking: items a respondent', ylabel='milliseconds a question')
    panel(axes[1], found['lengths'], 'length', 'prompts', COLORS,
        title='Asking: tokens shared by 6 items', ylabel='milliseconds a question')
    panel(axes[2], found['training'], 'items', 'records', ['shared'],
        title='Training: items a respondent', ylabel='milliseconds a record')
    return axes[0]


PARTS = dict(items=by_items, lengths=by_length, attributes=attributes, training=training,
    bfloat16=bfloat16, forms=forms, peak_gib=memory)


def everything(ask):
    "The parts asked for, beside what the file has; written as it goes, since it takes long."
    lm = load_model()
    found = json.loads(ask.out.read_text(encoding='utf-8')) if ask.out.exists() else {}
    found |= dict(threads=torch.get_num_threads(), torch=torch.__version__, rounds=ask.rounds)
    for part in ask.parts:
        found[part] = PARTS[part](lm, ask)
        ask.out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    asking = misfit(found['items'] + found['lengths'])
    found['misfit'] = dict(asking=asking, training=misfit(found['training']))
    return found


if __name__ == '__main__':
    ask = command_line(__file__, __doc__, rounds=3, items=[1, 2, 4, 8, 17, 34], quick=[17])
    ask.size('--lengths', [50, 100, 200, 400, 800], quick=[200], help='of what is shared')
    ask.size('--parts', list(PARTS), quick=['items', 'lengths', 'training'], choices=PARTS)
    ask.add_argument('--memory', nargs=2, help=argparse.SUPPRESS)
    ask = ask.parse_args()
    if ask.memory:
        once(ask.memory[0], int(ask.memory[1]))
        print(peak_gib())
    else:
        keep(ask.out, everything(ask), plot)
