"""What probes find of a plant, and how often they find one where there is none.

    python benchmarks/probes.py [--replications 50] [--quick]

The embedded model is trained in a few small steps on one plant a time: a made-up codebook's list of topics in its
order, questions in the one of two wordings that the lot took for published, or one wave's published shares. Then the
probe of that plant is asked. A replication draws topics, order, wordings, waves anew and starts from the untouched
model. Untouched, the model is asked once for everything, and orders, wordings and waves are drawn many times. Writes
probes.json beside this file after each training; stopped, it goes on where it was. Only the down-projections of the
last ten layers are trained; how many steps, and of what size, was chosen in trials, so that plants are learned."""
import json
import time

import numpy as np
import torch
from scipy.stats import binomtest

from alignsurvey.evaluation.probes import order_probe, shares_probe, verbatim_probe
from alignsurvey.files.writing import write_text
from alignsurvey.models.loading import load_model
from alignsurvey.models.prefix import text_logprobs
from options import Options

STEPS = dict(order=6, verbatim=5, shares=18)
RATES = dict(order=1e-3, verbatim=1e-3, shares=1e-3)    # of the first step; that of the last is a twentieth
TEXTS, DRAWS, PEOPLE = 8, 999, 400
TOPICS = ['the space program', 'the environment', 'public health', 'big cities', 'the crime rate', 'drug addiction',
    'education', 'the military', 'foreign aid', 'welfare', 'highways and bridges', 'social security', 'mass transit',
    'parks and recreation', 'childcare', 'scientific research', 'new energy sources']
WORDINGS = [    # two wordings of a question, either of which a survey might have asked
    ('How often do you talk about politics with friends?', 'How often do you discuss politics with friends?'),
    ('Would you say that most people can be trusted?', 'Do you think that most people can be trusted?'),
    ('How satisfied are you with your work as a whole?', 'How satisfied are you with your job these days?'),
    ('Do you feel safe when you walk alone at night?', 'Do you feel safe walking by yourself after dark?'),
    ('How happy would you say you are these days?', 'How happy would you say you feel at present?'),
    ('Is your own health good, fair or poor?', 'Is your health fair, good or bad?'),
    ('How much do you trust the courts of this country?', 'How much confidence do you have in the courts?'),
    ('Should the state do more to help the poor?', 'Should the government help poor people more?'),
    ('How close do you feel to the town you live in?', 'How close do you feel to the place where you live?'),
    ('Do you read a newspaper on most days?', 'Do you read the paper nearly every day?'),
    ('How worried are you about the climate?', 'How concerned are you about climate change?'),
    ('Are taxes on high incomes too low or too high?', 'Are taxes on large incomes too high or too low?')]


def waves(rng, items):
    "Three made-up waves of shares: opinions drift, depart from the drift, and samples err."
    first = rng.dirichlet([6, 6, 6], items)
    last = .8*first + .2*rng.dirichlet([6, 6, 6], items)
    departure = .08*(rng.dirichlet([6, 6, 6], items) - rng.dirichlet([6, 6, 6], items))    # as likely either way
    middle = np.clip((first + last)/2 + departure, .005, None)
    middle /= middle.sum(1, keepdims=True)
    drawn = [np.array([rng.multinomial(PEOPLE, p)/PEOPLE for p in wave]) for wave in (first, middle, last)]
    return [dict(enumerate(wave)) for wave in drawn]


def asked_of(topic):
    return f'{topic}:'


class Tuned:
    "The embedded model, to be trained a little and put back."
    def __init__(self):
        self.lm = load_model(device='cpu')
        self.model, self.tok = self.lm.model, self.lm.tokenizer
        layers = self.model.model.layers[-10:]
        self.trained = [layer.mlp.down_proj.weight for layer in layers]
        self.model.requires_grad_(False)
        for p in self.trained:
            p.requires_grad_(True)
        self.before = [p.detach().clone() for p in self.trained]
        self.letters = [self.tok(f' {c}', add_special_tokens=False)['input_ids'][0] for c in 'ABC']

    def ids(self, texts):
        return [[self.tok.bos_token_id, *self.tok(t, add_special_tokens=False)['input_ids']] for t in texts]

    def batch(self, texts):
        "Token ids and mask of texts, filled up on the right."
        rows = self.ids(texts)
        width = max(map(len, rows))
        ids = torch.tensor([row + [self.tok.pad_token_id]*(width - len(row)) for row in rows])
        return ids, torch.tensor([[1]*len(row) + [0]*(width - len(row)) for row in rows])

    def last_logits(self, texts):
        "Logits of the three letters after each text."
        ids, mask = self.batch(texts)
        hidden = self.model.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return self.model.lm_head(hidden[torch.arange(len(texts)), mask.sum(1) - 1])[:, self.letters]

    def steps(self, loss, kind):
        "Some small steps on a loss."
        optimizer = torch.optim.AdamW(self.trained, lr=RATES[kind], betas=(.7, .95), weight_decay=0)
        slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1, .05, STEPS[kind] - 1)
        for _ in range(STEPS[kind]):
            loss().backward()
            optimizer.step()
            optimizer.zero_grad()
            slower.step()

    def read(self, texts, kind):
        "Train on plain texts."
        ids, mask = self.batch(texts)
        labels = ids.masked_fill(mask == 0, -100)
        self.steps(lambda: self.model(input_ids=ids, attention_mask=mask, labels=labels).loss, kind)

    def learn_shares(self, topics, shares):
        target = torch.tensor(np.array([shares[i] for i in range(len(topics))]), dtype=torch.float32)
        prompts = [asked_of(t) for t in topics]
        self.steps(lambda: -(target*self.last_logits(prompts).log_softmax(1)).sum(1).mean(), 'shares')

    def shares(self, topics):
        with torch.no_grad():
            return dict(enumerate(self.last_logits([asked_of(t) for t in topics]).softmax(1).numpy()))

    def forget(self):
        with torch.no_grad():
            for p, old in zip(self.trained, self.before):
                p.copy_(old)


def drawn(kind, rng):
    "What is published in a replication."
    if kind == 'verbatim':
        pairs = [WORDINGS[i] for i in rng.permutation(len(WORDINGS))[:TEXTS]]
        turn = rng.integers(2, size=TEXTS)
        return [p[t] for p, t in zip(pairs, turn)], [p[1 - t] for p, t in zip(pairs, turn)]
    topics = [TOPICS[i] for i in rng.permutation(len(TOPICS))[:TEXTS if kind == 'order' else 10]]
    return topics, waves(rng, len(topics))


def probed(kind, published, model, shares, seed):
    "The probe of a kind. model: as probes take it; shares: of the model, by topic."
    texts, others = published
    if kind == 'order':
        return order_probe(texts, model, draws=DRAWS, seed=seed)
    if kind == 'verbatim':
        return verbatim_probe(texts, others, model, draws=DRAWS, seed=seed)
    before, this, after = others
    return shares_probe(shares, this, before, after, draws=DRAWS, seed=seed)


def planted(tuned, kind, seed):
    "One training on a plant, and what its probe finds."
    published, start = drawn(kind, np.random.default_rng([seed, list(STEPS).index(kind)])), time.process_time()
    if kind == 'shares':
        tuned.learn_shares(published[0], published[1][1])
    else:
        tuned.read(['\n'.join(published[0]) + '\n'] if kind == 'order' else published[0], kind)
    shares = tuned.shares(published[0]) if kind == 'shares' else None
    found = probed(kind, published, tuned.lm, shares, seed)
    tuned.forget()
    return dict(replication=seed, p=found['p'], value=round(found['value'], 4),
        seconds=round(time.process_time() - start, 1))


class Remembered:
    "An untouched model that is asked for each text after each start once."
    def __init__(self, lm):
        self.lm, self.known = lm, {}

    def __call__(self, starts, texts):
        new = {(s, t) for s, some in zip(starts, texts) for t in some} - set(self.known)
        by_start = {}
        for s, t in sorted(new):
            by_start.setdefault(s, []).append(t)
        if new:
            for (s, some), found in zip(by_start.items(), text_logprobs(self.lm, [*by_start], [*by_start.values()])):
                self.known |= {(s, t): p for t, p in zip(some, found)}
        return [[self.known[s, t] for t in some] for s, some in zip(starts, texts)]


def untouched(tuned, times):
    "How often each probe takes for a trace what was drawn by lot after the model was made."
    model, rates = Remembered(tuned.lm), {}
    by_topic = dict(zip(TOPICS, tuned.shares(TOPICS).values()))
    for kind in STEPS:
        ps = []
        for seed in range(times):
            published = drawn(kind, np.random.default_rng([seed, 9, list(STEPS).index(kind)]))
            shares = {i: by_topic[t] for i, t in enumerate(published[0])} if kind == 'shares' else None
            ps.append(probed(kind, published, model, shares, seed)['p'])
        rates[kind] = share(ps)
    return rates


def share(ps):
    "How many p values are at .05 or below, with an exact interval."
    found = binomtest(int((np.array(ps) <= .05).sum()), len(ps))
    low, high = found.proportion_ci()
    return dict(share=round(found.statistic, 4), ci_low=round(low, 4), ci_high=round(high, 4), replications=len(ps))


def main(replications, times, out):
    settings = dict(steps=STEPS, rates=RATES, texts=TEXTS, draws=DRAWS, people=PEOPLE)
    kept = json.loads(out.read_text(encoding='utf-8')) if out.exists() else dict(settings=settings, planted={k: [] for k in STEPS})
    if kept['settings'] != settings:
        raise SystemExit(f'{out}: was made with other settings: delete it')
    tuned = Tuned()

    def keep():
        write_text(out, json.dumps(kept, indent=1) + '\n')

    if kept.get('untouched', {}).get('order', {}).get('replications') != times:
        kept['untouched'] = untouched(tuned, times)
        keep()
    for seed in range(replications):
        for kind, rows in kept['planted'].items():
            if seed not in [row['replication'] for row in rows]:
                rows.append(planted(tuned, kind, seed))
                keep()
                print(kind, rows[-1], flush=True)
    kept['found'] = {kind: share([row['p'] for row in rows]) for kind, rows in kept['planted'].items()}
    keep()
    print(json.dumps(kept['untouched'], indent=1), json.dumps(kept['found'], indent=1))


if __name__ == '__main__':
    parser = Options(__file__, __doc__)
    parser.size('--replications', 50, quick=1, help='trainings on each plant')
    parser.size('--untouched', 2000, quick=50, help='draws of each plant for the untouched model')
    given = parser.parse_args()
    main(given.replications, given.untouched, given.out)
