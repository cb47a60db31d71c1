"""Is fine-tuning with shared prefixes faster than LLaMA-Factory's trainer? The same records, model, LoRA, batch and learning rate, each library in an environment of its own, in turn.

LLaMA-Factory lives in its own environment (python -m venv other && other/bin/pip install llamafactory==0.9.5). Both train in float32 on the CPU without gradient checkpointing.
Its `chatml` template leaves out the system turn that the model's own template adds, so that its prompts are the shorter ones.
Run: ALIGNSURVEY_LLAMAFACTORY=other/bin/python python benchmarks/llamafactory_training.py [--rounds 3] [--quick]. Writes benchmarks/llamafactory_training.json and .png."""
import json, os, statistics, subprocess, tempfile
from pathlib import Path
import torch
from alignsurvey.models.loading import load_model
from alignsurvey.training.trainer import sft
from prefix_training import command_line, keep, survey_records

RECIPE = dict(rank=8, alpha=16, lr=1e-4, epochs=2)


def theirs(records, folder):
    "Seconds a step of LLaMA-Factory's trainer."
    rows = [{k: r[k] for k in ('instruction', 'input', 'output')} for r in records]
    (folder/'survey.json').write_text(json.dumps(rows), encoding='utf-8')
    (folder/'dataset_info.json').write_text(json.dumps(dict(survey=dict(file_name='survey.json'))), encoding='utf-8')
    settings = dict(model_name_or_path=load_model().model.config._name_or_path, stage='sft', do_train=True, finetuning_type='lora', lora_target='all', lora_rank=RECIPE['rank'], lora_alpha=RECIPE['alpha'],
        dataset='survey', dataset_dir=str(folder), template='chatml', cutoff_len=2048, output_dir=str(folder/'out'), overwrite_output_dir=True, use_cpu=True, bf16=False, fp16=False,
        disable_gradient_checkpointing=True, per_device_train_batch_size=8, gradient_accumulation_steps=-(-len(rows)//8), num_train_epochs=RECIPE['epochs'], learning_rate=RECIPE['lr'],
        lr_scheduler_type='cosine', warmup_ratio=.1, logging_steps=1, save_strategy='no', report_to='none')
    (folder/'settings.yaml').write_text(json.dumps(settings), encoding='utf-8')
    env = dict(os.environ, PYTHONPATH='', CUDA_VISIBLE_DEVICES='', USE_V1='0')
    done = subprocess.run([os.environ['ALIGNSURVEY_LLAMAFACTORY'], '-m', 'llamafactory.cli', 'train', str(folder/'settings.yaml')], env=env, capture_output=True, text=True)
    if done.returncode: raise SystemExit(f'LLaMA-Factory ended with {done.returncode}:\n{done.stderr[-3000:]}')
    log = [json.loads(l) for l in (folder/'out/trainer_log.jsonl').read_text(encoding='utf-8').splitlines()]
    return json.loads((folder/'out/train_results.json').read_text(encoding='utf-8'))['train_runtime']/RECIPE['epochs'], [l['loss'] for l in log if 'loss' in l]


def ours(records, folder):
    "Seconds a step of ours."
    sft(load_model(), records, folder/'adapter', batch=len(records), micro=len(records), **RECIPE)
    card = json.loads((folder/'adapter/sft.json').read_text(encoding='utf-8'))
    return card['seconds']/card['steps'], [float(l.split(',')[1]) for l in (folder/'adapter/loss.csv').read_text(encoding='utf-8').splitlines()[1:]]


def compare(records, rounds):
    seconds, losses = dict(ours=[], theirs=[]), {}
    for _ in range(rounds):
        for way in (ours, theirs):
            with tempfile.TemporaryDirectory() as folder: took, losses[way.__name__] = way(records, Path(folder))
            seconds[way.__name__].append(round(took, 2))
    mid = {w: statistics.median(s) for w, s in seconds.items()}
    return dict(records=len(records), seconds_a_step=seconds, median=mid, faster=round(mid['theirs']/mid['ours'], 2), losses=losses)


def plot(found):
    import seaborn as sns
    mid = found['median']
    ax = sns.barplot(x=['shared prefixes', 'LLaMA-Factory'], y=[mid['ours'], mid['theirs']], hue=['a', 'b'], palette=['#0072B2', '#D55E00'], legend=False)
    for bars in ax.containers: ax.bar_label(bars, fmt='%.1f s')
    ax.set(title=f"A training step over {found['records']} records, {found['items']} a respondent: {found['faster']:.1f} times faster", ylabel='seconds (median)')
    return ax


if __name__ == '__main__':
    ask = command_line(__file__, __doc__, rounds=3)
    ask.size('--respondents', 2, quick=1)
    ask = ask.parse_args()
    if not os.environ.get('ALIGNSURVEY_LLAMAFACTORY'): raise SystemExit(print('skipped: ALIGNSURVEY_LLAMAFACTORY names no Python that has llamafactory'))
    keep(ask.out, dict(items=17, threads=torch.get_num_threads(), rounds=ask.rounds, **compare(survey_records(17, ask.respondents), ask.rounds)), plot)
