"""Is asking with shared prefixes faster than what a user would run instead? The same records of the General Social Survey, in one process, in turn.

Ways: `shared` scores every option of every record, `padded` does so in padded batches of 16; `shared_letter` and
`padded_letter` read only the letter's token, in one forward; `generate` lets the model write 8 tokens in padded batches
of 16.
Run: make bench, or python benchmarks/prefix_scoring.py [--rounds 5] [--items 17 6 1] [--quick].
Writes benchmarks/prefix_scoring.json and .png."""
import torch
from alignsurvey.models.chat import answer_ids, prompt_ids
from alignsurvey.models.loading import load_model
from alignsurvey.models.prefix import grow_trie, shared_option_logprobs
from alignsurvey.models.scoring import option_logprobs, padded_batch
from alignsurvey.records.schema import answer_texts
from prefix_training import alternate, command_line, keep, medians, plain_matmul, profile, survey_records

BATCH = 16
WRITTEN = 8    # tokens of a reply
RESPONDENTS = {17: 4, 6: 8, 1: 32}   # for so many items; others: four
AGAINST = {
    'writing 8 tokens': 'faster_than_generate',
    'padded options': 'faster_than_padded',
    'padded letters': 'faster_letter'}


def padded_batches(prompts):
    "Numbers of prompts of similar length."
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    return [by_length[i:i + BATCH] for i in range(0, len(by_length), BATCH)]


def padded_tokens(prompts):
    "Tokens that padded batches compute, those that fill up among them."
    return sum(len(some)*max(len(prompts[i]) for i in some) for some in padded_batches(prompts))


def filled_up(lm, prompts):
    "Some prompts as what the model's forward takes."
    ids, mask = padded_batch(prompts, lm.tokenizer.pad_token_id, 'left', lm.device)
    return dict(input_ids=ids, attention_mask=mask)


def score_padded(lm, prompts, options):
    "Log probability of every option, in padded batches."
    found = {}
    for some in padded_batches(prompts):
        mine = [options[i] for i in some]
        logp = option_logprobs(lm.model, [prompts[i] for i in some], mine, pad_id=lm.tokenizer.pad_token_id)
        found.update(zip(some, logp.split(list(map(len, mine)))))
    return torch.cat([found[i] for i in range(len(prompts))])


def read_letters(lm, prompts, letters):
    "Log probability of the first token of every letter, in padded batches of one forward."
    found = {}
    for some in padded_batches(prompts):
        inputs = filled_up(lm, [prompts[i] for i in some])
        place = (inputs['attention_mask'].cumsum(1) - 1).clamp(min=0)
        logits = lm.model(**inputs, position_ids=place, logits_to_keep=1, use_cache=False).logits
        for i, logp in zip(some, logits[:, -1].log_softmax(-1)):
            found[i] = logp[[letter[0] for letter in letters[i]]]
    return torch.cat([found[i] for i in range(len(prompts))])


def write(lm, prompts):
    "Replies of a few tokens, in padded batches."
    for some in padded_batches(prompts):
        lm.model.generate(**filled_up(lm, [prompts[i] for i in some]), do_sample=False, max_new_tokens=WRITTEN,
            min_new_tokens=WRITTEN, pad_token_id=lm.tokenizer.pad_token_id)


def kept(compute):
    "A way that keeps what it found."
    def run():
        run.found = compute()
    return run


def ways(lm, prompts, options, letters):
    "What is compared; each keeps its result."
    return dict(
        shared=kept(lambda: shared_option_logprobs(lm.model, prompts, options)),
        padded=kept(lambda: score_padded(lm, prompts, options)),
        shared_letter=kept(lambda: shared_option_logprobs(lm.model, prompts, letters)),
        padded_letter=kept(lambda: read_letters(lm, prompts, letters)),
        generate=kept(lambda: write(lm, prompts)))


def largest_difference(one, other):
    "Between the probabilities that two ways found."
    return float((one.found.exp() - other.found.exp()).abs().max())


def asked(lm, records):
    "Prompts, options and letters as token ids."
    prompts = [prompt_ids(lm, r['instruction'], r['input']) for r in records]
    texts = [answer_texts(r['options'], r['answer_form']) for r in records]
    options = [[answer_ids(lm, text) for text in some] for some in texts]
    letters = [[answer_ids(lm, chr(65 + k))[:1] for k in range(len(some))] for some in texts]
    return prompts, options, letters


def one_size(lm, items, rounds, respondents=None):
    "What a round over so many items a respondent takes, each way."
    records = survey_records(items, respondents or RESPONDENTS.get(items, 4))
    prompts, options, letters = asked(lm, records)
    run = ways(lm, prompts, options, letters)
    with torch.no_grad():
        times = alternate(run, rounds)
        detail = profile(run['shared'], plain_matmul(lm.model, 2048))
    mid = medians(times)
    ratio = padded_tokens(prompts)/len(grow_trie(prompts))
    by_letter = mid['padded_letter']/mid['shared_letter']
    return dict(items=items, records=len(records), padded_tokens_to_shared=round(ratio, 2),
        seconds={way: [round(x, 3) for x in each] for way, each in times.items()},
        median={way: round(m, 3) for way, m in mid.items()},
        faster_than_generate=round(mid['generate']/mid['shared'], 2),
        faster_than_padded=round(mid['padded']/mid['shared'], 2), faster_letter=round(by_letter, 2),
        part_of_ratio=round(by_letter/ratio, 3),
        largest_difference=largest_difference(run['shared'], run['padded']),
        largest_difference_letter=largest_difference(run['shared_letter'], run['padded_letter']),
        shared_step=detail)


def plot(found):
    import pandas as pd
    import seaborn as sns
    results = found['results']
    rows = [(r['items'], name, r[key]) for r in results for name, key in AGAINST.items()]
    frame = pd.DataFrame(rows, columns=['items', 'against', 'faster'])
    order = [r['items'] for r in results]
    ax = sns.barplot(frame, x='items', y='faster', hue='against', palette='colorblind', order=order)
    ax.axhline(1, color='#444444')
    for bars in ax.containers:
        ax.bar_label(bars, fmt='%.1fx')
    ax.set(title='Asking with shared prefixes', xlabel='items a respondent answers', ylabel='times faster')
    return ax


if __name__ == '__main__':
    ask = command_line(__file__, __doc__, items=[17, 6, 1])
    ask.size('--respondents', 0, quick=1, help='0: as many as make such a round')
    ask = ask.parse_args()
    lm = load_model()
    results = [one_size(lm, items, ask.rounds, ask.respondents) for items in ask.items]
    about = dict(threads=torch.get_num_threads(), torch=torch.__version__, rounds=ask.rounds)
    keep(ask.out, dict(about, results=results), plot)
