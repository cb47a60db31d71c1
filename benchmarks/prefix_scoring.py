"""Is asking with shared prefixes faster than what a user would run instead? The same records of the General Social Survey, in one process, in turn.

Ways: `shared` scores every option of every record, `padded` does so in padded batches of 16; `shared_letter` and `padded_letter` read only the letter's token, in one forward;
`generate` lets the model write 8 tokens in padded batches of 16.
Run: make bench, or python benchmarks/prefix_scoring.py [--rounds 5] [--items 17 6 1] [--quick]. Writes benchmarks/prefix_scoring.json and .png."""
import statistics
import torch
from alignsurvey.models.scoring import padded_batch, option_logprobs
from alignsurvey.models.chat import answer_ids, prompt_ids
from alignsurvey.models.loading import load_model
from alignsurvey.models.prefix import grow_trie, shared_option_logprobs
from alignsurvey.records.schema import answer_texts
from prefix_training import alternate, command_line, keep, plain_matmul, profile, survey_records

BATCH = 16
RESPONDENTS = {17: 4, 6: 8, 1: 32}   # for so many items; others: four


def padded_batches(prompts):
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    return [by_length[i:i + BATCH] for i in range(0, len(by_length), BATCH)]


def ways(lm, prompts, options, letters):
    "What is compared; each keeps its result."
    fill = lm.tokenizer.pad_token_id
    def padded():
        rows = {}
        for some in padded_batches(prompts): rows.update(zip(some, option_logprobs(lm.model, [prompts[i] for i in some], [options[i] for i in some], pad_id=fill).split([len(options[i]) for i in some])))
        padded.found = torch.cat([rows[i] for i in range(len(prompts))])
    def padded_letter():
        rows = {}
        for some in padded_batches(prompts):
            ids, mask = padded_batch([prompts[i] for i in some], fill, 'left', lm.device)
            logp = lm.model(input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0), logits_to_keep=1, use_cache=False).logits[:, -1].log_softmax(-1)
            rows.update((i, p[[o[0] for o in letters[i]]]) for i, p in zip(some, logp))
        padded_letter.found = torch.cat([rows[i] for i in range(len(prompts))])
    def generate():
        for some in padded_batches(prompts):
            ids, mask = padded_batch([prompts[i] for i in some], fill, 'left', lm.device)
            lm.model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=8, min_new_tokens=8, pad_token_id=fill)
    def shared(): shared.found = shared_option_logprobs(lm.model, prompts, options)
    def shared_letter(): shared_letter.found = shared_option_logprobs(lm.model, prompts, letters)
    return dict(shared=shared, padded=padded, shared_letter=shared_letter, padded_letter=padded_letter, generate=generate)


def one_size(lm, items, rounds, respondents=None):
    records = survey_records(items, respondents or RESPONDENTS.get(items, 4))
    prompts = [prompt_ids(lm, r['instruction'], r['input']) for r in records]
    options = [[answer_ids(lm, t) for t in answer_texts(r['options'], r['answer_form'])] for r in records]
    letters = [[answer_ids(lm, chr(65 + k))[:1] for k in range(len(o))] for o in options]
    with torch.no_grad():
        run = ways(lm, prompts, options, letters)
        times = alternate(run, rounds)
        mid = {w: statistics.median(t) for w, t in times.items()}
        detail = profile(run['shared'], plain_matmul(lm.model, 2048))
    ratio = sum(len(b)*max(len(prompts[i]) for i in b) for b in padded_batches(prompts))/len(grow_trie(prompts))
    return dict(items=items, records=len(records), padded_tokens_to_shared=round(ratio, 2), seconds={w: [round(x, 3) for x in t] for w, t in times.items()}, median={w: round(m, 3) for w, m in mid.items()},
                faster_than_generate=round(mid['generate']/mid['shared'], 2), faster_than_padded=round(mid['padded']/mid['shared'], 2), faster_letter=round(mid['padded_letter']/mid['shared_letter'], 2),
                part_of_ratio=round(mid['padded_letter']/mid['shared_letter']/ratio, 3), largest_difference=float((run['shared'].found.exp() - run['padded'].found.exp()).abs().max()),
                largest_difference_letter=float((run['shared_letter'].found.exp() - run['padded_letter'].found.exp()).abs().max()), shared_step=detail)


def plot(found):
    import pandas as pd, seaborn as sns
    against = {'writing 8 tokens': 'faster_than_generate', 'padded options': 'faster_than_padded', 'padded letters': 'faster_letter'}
    rows = [(r['items'], name, r[key]) for r in found['results'] for name, key in against.items()]
    ax = sns.barplot(pd.DataFrame(rows, columns=['items', 'against', 'faster']), x='items', y='faster', hue='against', palette='colorblind', order=[r['items'] for r in found['results']])
    ax.axhline(1, color='#444444')
    for bars in ax.containers: ax.bar_label(bars, fmt='%.1fx')
    ax.set(title='Asking with shared prefixes', xlabel='items a respondent answers', ylabel='times faster')
    return ax


if __name__ == '__main__':
    ask = command_line(__file__, __doc__, items=[17, 6, 1])
    ask.size('--respondents', 0, quick=1, help='0: as many as make such a round')
    ask = ask.parse_args()
    lm = load_model()
    keep(ask.out, dict(threads=torch.get_num_threads(), torch=torch.__version__, rounds=ask.rounds, results=[one_size(lm, items, ask.rounds, ask.respondents) for items in ask.items]), plot)
