"""Is fine-tuning with shared prefixes faster than LLaMA-Factory's trainer?

The same records, model, LoRA, batch and learning rate, each library in an environment of its own,
in turn. LLaMA-Factory lives in its own environment
(python -m venv other && other/bin/pip install llamafactory==0.9.5).
Both train in float32 on the CPU without gradient checkpointing. Its `chatml` template leaves out
the system turn that the model's own template adds, so that its prompts are the shorter ones.
Run: ALIGNSURVEY_LLAMAFACTORY=other/bin/python python benchmarks/llamafactory_training.py
[--rounds 3] [--quick].
Writes benchmarks/llamafactory_training.json and .png."""
import json
import os
import subprocess
import tempfile
from pathlib import Path
import torch
from alignsurvey.files.strict import read_json
from alignsurvey.files.writing import write_json
from alignsurvey.models.loading import load_model
from alignsurvey.training.trainer import sft
from prefix_training import command_line, keep, medians, survey_records

PYTHON = os.environ.get('ALIGNSURVEY_LLAMAFACTORY')
RECIPE = dict(rank=8, alpha=16, lr=1e-4, epochs=2)
MICRO = 8    # records that theirs takes at once
SETTINGS = dict(
    stage='sft', do_train=True, finetuning_type='lora', lora_target='all',
    lora_rank=RECIPE['rank'], lora_alpha=RECIPE['alpha'],
    dataset='survey', template='chatml', cutoff_len=2048, overwrite_output_dir=True,
    use_cpu=True, bf16=False, fp16=False, disable_gradient_checkpointing=True,
    per_device_train_batch_size=MICRO, num_train_epochs=RECIPE['epochs'],
    learning_rate=RECIPE['lr'], lr_scheduler_type='cosine', warmup_ratio=.1,
    logging_steps=1, save_strategy='no', report_to='none')


def train_theirs(folder):
    "LLaMA-Factory's trainer by the settings of a folder."
    env = dict(os.environ, PYTHONPATH='', CUDA_VISIBLE_DEVICES='', USE_V1='0')
    command = [PYTHON, '-m', 'llamafactory.cli', 'train', str(folder/'settings.yaml')]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f'LLaMA-Factory ended with {done.returncode}:\n{done.stderr[-3000:]}')


def theirs(records, folder):
    "Seconds a step of LLaMA-Factory's trainer, and its losses."
    rows = records.select_columns(['instruction', 'input', 'output']).to_list()
    write_json(folder/'survey.json', rows)
    write_json(folder/'dataset_info.json', dict(survey=dict(file_name='survey.json')))
    write_json(folder/'settings.yaml', dict(SETTINGS, dataset_dir=str(folder),
        output_dir=str(folder/'out'), gradient_accumulation_steps=-(-len(rows)//MICRO),
        model_name_or_path=load_model().model.config._name_or_path))
    train_theirs(folder)
    lines = (folder/'out/trainer_log.jsonl').read_text(encoding='utf-8').splitlines()
    log = [json.loads(line) for line in lines]
    losses = [entry['loss'] for entry in log if 'loss' in entry]
    return read_json(folder/'out/train_results.json')['train_runtime']/RECIPE['epochs'], losses


def ours(records, folder):
    "Seconds a step of ours, and its losses."
    many = len(records)
    sft(load_model(), records, folder/'adapter', batch=many, micro=many, **RECIPE)
    card = read_json(folder/'adapter/sft.json')
    lines = (folder/'adapter/loss.csv').read_text(encoding='utf-8').splitlines()
    losses = [float(line.split(',')[1]) for line in lines[1:]]
    return card['seconds']/card['steps'], losses


def compare(records, rounds):
    "Both in turn, anew in each round; losses are the last round's."
    ways = dict(ours=ours, theirs=theirs)
    seconds = {way: [] for way in ways}
    losses = {}
    for _ in range(rounds):
        for way, train in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                took, losses[way] = train(records, Path(folder))
            seconds[way].append(round(took, 2))
    mid = medians(seconds)
    return dict(records=len(records), seconds_a_step=seconds, median=mid,
        faster=round(mid['theirs']/mid['ours'], 2), losses=losses)


def plot(found):
    import seaborn as sns
    mid = found['median']
    ax = sns.barplot(x=['shared prefixes', 'LLaMA-Factory'], y=[mid['ours'], mid['theirs']],
        hue=['a', 'b'], palette=['#0072B2', '#D55E00'], legend=False)
    for bars in ax.containers:
        ax.bar_label(bars, fmt='%.1f s')
    size = f"{found['records']} records, {found['items']} a respondent"
    ax.set(title=f"A training step over {size}: {found['faster']:.1f} times faster",
        ylabel='seconds (median)')
    return ax


if __name__ == '__main__':
    ask = command_line(__file__, __doc__, rounds=3)
    ask.size('--respondents', 2, quick=1)
    ask = ask.parse_args()
    if not PYTHON:
        print('skipped: ALIGNSURVEY_LLAMAFACTORY names no Python that has llamafactory')
        raise SystemExit
    found = compare(survey_records(17, ask.respondents), ask.rounds)
    about = dict(items=17, threads=torch.get_num_threads(), rounds=ask.rounds)
    keep(ask.out, about | found, plot)
