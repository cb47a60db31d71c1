"""What does sharing prefixes cost and save, by items a respondent and by length of what is shared? Does memory stay flat, and do bfloat16 and a dense mask pay?

The embedded model and the General Social Survey; 34 items are its items in two orders of their options. Times are set beside the number of tokens that a trie has: where
the one predicts the other, the token count is the cost. `attributes`: twelve questions about one interview, as in social role modelling.
Run: make bench, or python benchmarks/prefix_cost.py [--rounds 3] [--parts items …] [--quick]. Writes benchmarks/prefix_cost.json and .png."""
import argparse, json, statistics, subprocess, sys
import numpy as np, torch
from datasets import concatenate_datasets
from alignsurvey.models.chat import answer_ids, prompt_ids
from alignsurvey.models.loading import load_model
from alignsurvey.models.prefix import grow_trie, read_logprobs, shared_attention, prefix_batch
from alignsurvey.records.orders import reorder
from alignsurvey.all import Survey
from prefix_scoring import padded_batches, ways
from prefix_training import alternate, command_line, keep, peak_gib, step, survey_records, trainers


def asked(items, respondents):
    "So many items to each respondent; more than the survey has are asked in a second order of their options."
    if items <= 17: return survey_records(items, respondents)
    once = survey_records(items//2, respondents)
    return concatenate_datasets([once, reorder(once, 'shuffle', seed=1)])


def prompts_of(lm, records): return [prompt_ids(lm, r['instruction'], r['input']) for r in records]


def letters_of(lm, prompts, n=3): return [[answer_ids(lm, chr(65 + k))[:1] for k in range(n)]]*len(prompts)


def compare(lm, prompts, rounds):
    "Seconds of reading one token of each option, shared and padded, beside the tokens that each computes."
    run = ways(lm, prompts, None, letters_of(lm, prompts))
    run = {w: run[f'{w}_letter'] for w in ('shared', 'padded')}
    with torch.no_grad(): mid = {w: statistics.median(t) for w, t in alternate(run, rounds).items()}
    tokens = dict(shared=len(grow_trie(prompts)), padded=sum(len(b)*max(len(prompts[i]) for i in b) for b in padded_batches(prompts)))
    ratio = tokens['padded']/tokens['shared']
    return dict(prompts=len(prompts), tokens=tokens, seconds={w: round(m, 4) for w, m in mid.items()}, faster=round(mid['padded']/mid['shared'], 2), token_ratio=round(ratio, 2),
                part_of_ratio=round(mid['padded']/mid['shared']/ratio, 3), largest_difference=float((run['shared'].found.exp() - run['padded'].found.exp()).abs().max()))


def by_items(lm, ask): return [dict(items=n, **compare(lm, prompts_of(lm, asked(n, max(1, 16//n))), ask.rounds)) for n in ask.items]


def by_length(lm, ask, items=6):
    "What a respondent's questions share, cut or repeated to so many tokens."
    prompts = prompts_of(lm, survey_records(items, 2))
    groups = [prompts[i:i + items] for i in range(0, len(prompts), items)]
    common = [next(k for k in range(len(g[0])) if len({p[k] for p in g}) > 1) for g in groups]
    grown = lambda n: [(g[0][:c]*(n//c + 1))[:n] + p[c:] for g, c in zip(groups, common) for p in g]
    return [dict(length=n, **compare(lm, grown(n), ask.rounds)) for n in ask.lengths]


def attributes(lm, ask):
    "Twelve attributes of a person from one interview of the survey's items in two orders."
    every = Survey.load('gss2018').records('role', respondents=30, verbose=False)
    who = [w for w in dict.fromkeys(every['respondent_id']) if sum(w == x for x in every['respondent_id']) == 11][:1]
    prompts = []
    for w in who:
        rows = every.filter(lambda r: r['respondent_id'] == w).to_list()
        talk = rows[0]['history']
        rows.append(dict(rows[0], instruction=rows[0]['instruction'].replace('"age"', '"year of birth"'), input=rows[0]['input'].replace('"age"', '"year of birth"')))
        prompts += [prompt_ids(lm, *(r[c].replace(talk, f'{talk}\n{talk}') for c in ('instruction', 'input'))) for r in rows]
    assert min(map(len, prompts)) >= 800 and len(set(map(tuple, prompts))) == 12, 'the interviews are too short, or two questions are the same'
    return dict(shortest=min(map(len, prompts)), **compare(lm, prompts, ask.rounds))


def training(lm, ask):
    "Seconds of a training step, forward and backward, by items a respondent, beside the tokens of its trie."
    out = []
    for n in ask.items:
        made = trainers(asked(n, max(1, 16//n)), ['shared'])['shared']
        tokens = len(grow_trie([r['prompt'] + r['options'][0] for r in made.train_dataset]))
        with shared_attention(made.model): out.append(dict(items=n, records=len(made.train_dataset), tokens=tokens, seconds=round(statistics.median(alternate(dict(shared=step(made)), ask.rounds)['shared']), 4)))
    return out


def bfloat16(lm, ask):
    "Time and equality under autocast, against float32; scoring and a training step."
    prompts = prompts_of(lm, survey_records(17, 2))
    run = ways(lm, prompts, None, letters_of(lm, prompts))['shared_letter']
    made = trainers(survey_records(17, 2), ['shared'])['shared']
    train, kept = step(made), {}
    def cast(f, name):
        def under():
            with torch.autocast('cpu', torch.bfloat16): f()
            kept[name] = getattr(f, 'found', None) if name == 'score' else f.loss
        return under
    with torch.no_grad(): score = {w: statistics.median(t) for w, t in alternate(dict(bf16=cast(run, 'score'), fp32=run), ask.rounds).items()}
    with shared_attention(made.model): step_ = {w: statistics.median(t) for w, t in alternate(dict(bf16=cast(train, 'train'), fp32=train), ask.rounds).items()}
    return dict(scoring=dict(seconds={w: round(s, 3) for w, s in score.items()}, largest_difference=float((run.found.exp() - kept['score'].exp()).abs().max())),
                training=dict(seconds={w: round(s, 3) for w, s in step_.items()}, loss=dict(fp32=train.loss, bf16=kept['train'])))


def forms(lm, ask):
    "Seconds of a pass, forward alone and with its backward, by the size of attention's blocks; the whole trie as one block is a dense mask."
    made = trainers(survey_records(17, 2), ['shared'])['shared']
    prompts = made.train_dataset['prompt'][:]
    sizes = {str(n): n for n in (16, 32, 64, 128, 256)} | {'dense': len(grow_trie(prompts))}
    batches = {w: prefix_batch(prompts, [len(p) - 1 for p in prompts], size=n) for w, n in sizes.items()}
    read = {w: lambda b=b: read_logprobs(made.model.eval(), b).sum() for w, b in batches.items()}
    learn = {w: lambda b=b: read_logprobs(made.model.train(), b).sum().backward() for w, b in batches.items()}
    with shared_attention(made.model):
        with torch.no_grad(): asking = alternate(read, ask.rounds)
        training = alternate(learn, ask.rounds)
    return dict(tokens=sizes['dense'], **{k: {w: round(statistics.median(t), 3) for w, t in times.items()} for k, times in dict(asking=asking, training=training).items()})


def memory(lm, ask):
    "GiB at the peak of a process that scores, or trains on, 17 items of so many respondents."
    run = lambda what, n: round(float(subprocess.run([sys.executable, __file__, '--memory', what, str(n)], capture_output=True, text=True, check=True).stdout.split()[-1]), 2)
    return {what: {n: run(what, n) for n in (4, 40)} for what in ('shared_letter', 'padded_letter', 'shared', 'train')}


def once(what, respondents):
    "One pass of one way, for its memory."
    records = survey_records(17, respondents)
    if what == 'train':
        made = trainers(records, ['shared'])['shared']
        with shared_attention(made.model): return step(made)()
    lm = load_model()
    prompts = prompts_of(lm, records)
    with torch.no_grad(): ways(lm, prompts, [[answer_ids(lm, o) for o in r['options']] for r in records], letters_of(lm, prompts))[what]()


def misfit(rows, seconds, tokens):
    "How far times are from the one price a token that suits them best, at most: 0.25 is 25 %."
    price = np.array([seconds(r)/tokens(r) for r in rows])
    return float(abs(price/np.exp(np.log(price).mean()) - 1).max())


def plot(found):
    import matplotlib.pyplot as plt, seaborn as sns
    _, axes = plt.subplots(1, 3, figsize=(15, 4.2))
    parts = ((axes[0], found['items'], 'items', 'Asking: items a respondent'), (axes[1], found['lengths'], 'length', 'Asking: tokens shared by 6 items'))
    for ax, rows, x, title in parts:
        for way, color in dict(shared='#0072B2', padded='#D55E00').items():
            price = np.exp(np.mean([np.log(r['seconds'][way]/r['tokens'][way]) for r in rows]))
            sns.lineplot(x=[r[x] for r in rows], y=[1000*r['seconds'][way]/r['prompts'] for r in rows], marker='o', color=color, label=way, ax=ax)
            sns.lineplot(x=[r[x] for r in rows], y=[1000*price*r['tokens'][way]/r['prompts'] for r in rows], linestyle=':', color=color, label=f'{way}, from tokens', ax=ax)
        ax.set(title=title, xlabel='', ylabel='milliseconds a question', xscale='log', xticks=[r[x] for r in rows], xticklabels=[r[x] for r in rows])
    rows = found['training']
    price = np.exp(np.mean([np.log(r['seconds']/r['tokens']) for r in rows]))
    sns.lineplot(x=[r['items'] for r in rows], y=[1000*r['seconds']/r['records'] for r in rows], marker='o', color='#0072B2', label='shared', ax=axes[2])
    sns.lineplot(x=[r['items'] for r in rows], y=[1000*price*r['tokens']/r['records'] for r in rows], linestyle=':', color='#0072B2', label='shared, from tokens', ax=axes[2])
    axes[2].set(title='Training: items a respondent', xlabel='', ylabel='milliseconds a record', xscale='log', xticks=[r['items'] for r in rows], xticklabels=[r['items'] for r in rows])
    for ax in axes: ax.set_ylim(0); ax.minorticks_off()
    return axes[0]


PARTS = dict(items=by_items, lengths=by_length, attributes=attributes, training=training, bfloat16=bfloat16, forms=forms, peak_gib=memory)

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
        lm, file = load_model(), ask.out
        found = (json.loads(file.read_text(encoding='utf-8')) if file.exists() else {}) | dict(threads=torch.get_num_threads(), torch=torch.__version__, rounds=ask.rounds)
        for part in ask.parts:
            found[part] = PARTS[part](lm, ask)
            file.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')    # as it goes: the whole takes a quarter of an hour
        price = lambda rows, of: misfit(rows, lambda r: of(r['seconds']), lambda r: of(r['tokens']))
        found['misfit'] = dict(asking=price(found['items'] + found['lengths'], lambda x: x['shared']), training=price(found['training'], lambda x: x))
        keep(ask.out, found, plot)
