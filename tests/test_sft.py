"Fine-tuning on a tiny random model: stages, their lineage, losses, validation, a run that is killed and goes on, and what is said of errors."
import json, multiprocessing, os, random, shutil, subprocess, time
from multiprocessing import forkserver
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
from datasets import Dataset
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from alignsurvey.training.cost import estimate_training
from alignsurvey.models.adapters import adapter_hash, lineage
from alignsurvey.training.batches import collate_answers, collate_shared, tokenised
from alignsurvey.training.losses import part_loss
from alignsurvey.training.recipe import fitting_recipe, make_recipe
from alignsurvey.models.loading import load_model, with_adapter
from alignsurvey.models.scoring import option_logprobs
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.offsets import with_offsets
from alignsurvey.models.prefix import read_logprobs, shared_attention
from alignsurvey.records.reading import make_records, write_records
from alignsurvey.reporting.model_card import adapter_card
from alignsurvey.training.trainer import held_out_score, sft

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
SMALL = dict(loss='option', lr=.01, batch=4, micro=2, rank=2, alpha=4, epochs=2, seed=3)


def save_tiny(folder, seed=0, hidden=32, positions=512):
    "A random model of a few thousand weights that reads bytes, as a folder on disk."
    special = ['<|end|>', '<|user|>', '<|assistant|>']
    words = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={w: i for i, w in enumerate(words)}, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token='<|end|>', pad_token='<|end|>', additional_special_tokens=special[1:])
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), hidden_size=hidden, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=positions, bos_token_id=0, eos_token_id=0, pad_token_id=0))
    for p in model.parameters(): torch.nn.init.normal_(p, std=.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def people(n=6, first=0):
    "Two answers each of n people, which their age decides."
    rows = []
    for i in range(first, first + n):
        for q in ('roads', 'parks'):
            rows.append(dict(record_id=f's/{i}/{q}', source='s', respondent_id=str(i), question_id=q, instruction=f'age {20 + 7*i}. {q}?',
                options=['more', 'less'], answer_form='text', answer_index=i % 2, output=['more', 'less'][i % 2], task='response'))
    return make_records(rows)


def mixed(n=10):
    "Answers of n people, and an attribute of five others: two tasks."
    jobs = [dict(record_id=f's/{i}/job', source='s', respondent_id=str(i), question_id='job', instruction=f'was {20 + 7*i}. job?',
        options=['none', 'some'], answer_form='text', answer_index=i % 2, output=['none', 'some'][i % 2], task='role') for i in range(100, 105)]
    return make_records(people(n).to_list() + jobs)


MIX = {'response': 2, 'role': 1}


def groups():
    rows = [dict(record_id=f's/{g}', source='s', respondent_id=g, question_id='roads', level='group', task='response', instruction=f'{g}. roads?',
        options=['more', 'same', 'less'], answer_form='text', target=p, n=n) for g, p, n in [('women', [.7, .2, .1], 300), ('men', [.1, .2, .7], 200), ('others', [1., 0., 0.], 40)]]
    return make_records(rows)


def answers(lm, records, loss='option'):
    rows = list(tokenised(lm, records, loss))
    with torch.no_grad(): return option_logprobs(lm.model, [r['prompt'] for r in rows], [r['options'] for r in rows])


def weights(folder): return load_file(Path(folder)/'adapter_model.safetensors')


def card(folder): return json.loads((Path(folder)/'sft.json').read_text())


@pytest.fixture(scope='module')
def base(tmp_path_factory): return save_tiny(tmp_path_factory.mktemp('model')/'tiny')


@pytest.fixture(scope='module')
def first(base, tmp_path_factory):
    out = tmp_path_factory.mktemp('stage')/'first'
    return sft(load_model(base), people(), out, stage='foundation', **{**SMALL, 'epochs': 1}), out


def test_two_stages_and_what_they_say_of_themselves(base, first, tmp_path):
    one, folder = first
    before = answers(one, people())
    for policy in ('continue', 'merge', 'fresh'):
        two = sft(one, people(4, 6), tmp_path/policy, adapter_policy=policy, **SMALL)
        history = lineage(tmp_path/policy)
        assert [h['stage'] for h in history] == (['task'] if policy == 'fresh' else ['foundation', 'task'])
        assert history[-1]['policy'] == policy and history[-1]['adapter_hash'] == adapter_hash(tmp_path/policy)
        if policy != 'fresh': assert history[0]['adapter_hash'] == adapter_hash(folder) and history[0]['records_hash'] == card(folder)['records_hash']
        assert card(tmp_path/policy)['base_hash'] == card(folder)['base_hash'] == load_model(base).base_hash
        assert not (tmp_path/policy/'checkpoints').exists()
        assert torch.equal(answers(load_model(base, adapter=tmp_path/policy), people()), answers(two, people()))
    assert torch.equal(answers(one, people()), before)      # the first stage is what it was


def test_a_stage_starts_where_its_policy_says(base, first, tmp_path):
    "After a step so small that nothing moves, continue and merge still answer as the first stage does, and fresh as the base."
    one, still = first[0], {**SMALL, 'lr': 1e-12, 'epochs': 1}
    said = {p: answers(sft(one, people(), tmp_path/p, adapter_policy=p, **still), people()) for p in ('continue', 'merge', 'fresh')}
    stage_one, plain = answers(one, people()), answers(load_model(base), people())
    assert (stage_one - plain).abs().max() > 1e-3
    for p, like in {'continue': stage_one, 'merge': stage_one, 'fresh': plain}.items(): assert (said[p] - like).abs().max() < 1e-4, p


def test_a_third_stage_loads_from_its_folder_alone(base, first, tmp_path):
    one, still = first[0], {**SMALL, 'epochs': 1}
    two = sft(one, people(), tmp_path/'two', adapter_policy='merge', **still)
    three = sft(two, people(), tmp_path/'three', adapter_policy='merge', **still)
    four = sft(three, people(), tmp_path/'four', adapter_policy='continue', **still)
    said = answers(four, people())
    for name in ('two', 'three'): shutil.rmtree(tmp_path/name)
    assert torch.equal(answers(load_model(base, adapter=tmp_path/'four'), people()), said)
    assert [h['policy'] for h in lineage(tmp_path/'four')] == ['fresh', 'merge', 'merge', 'continue']


def test_what_was_trained_holds_the_weights_of_its_base_once(base, first, tmp_path):
    "Neither training nor loading beside it takes a second copy, and each says what it said alone."
    lm = load_model(base)
    held, before = {p.data_ptr() for p in lm.model.parameters()}, answers(lm, people())
    tuned = sft(lm, people(), tmp_path/'a', **SMALL)
    beside = with_adapter(lm, tmp_path/'a')
    for model in tuned.model, beside.model:
        own = {name for name, p in model.named_parameters() if p.data_ptr() not in held}
        assert own and all('lora_' in name for name in own)
    alone = answers(load_model(base, adapter=tmp_path/'a'), people())
    assert torch.equal(answers(tuned, people()), alone) and torch.equal(answers(beside, people()), alone)
    assert torch.equal(answers(lm, people()), before) and lm.adapter is None
    for further, how in (lm, {}), (tuned, dict(adapter_policy='merge')), (tuned, dict(adapter_policy='continue')):
        sft(further, people(4, 6), tmp_path/'b', overwrite=True, **how, **SMALL)
        assert torch.equal(answers(lm, people()), before) and torch.equal(answers(beside, people()), alone)
    third = with_adapter(tuned, first[1])    # of a model with an adapter: loaded anew
    assert not {p.data_ptr() for p in third.model.parameters()} & held


def test_an_adapter_for_another_base_is_refused(first, tmp_path):
    other, wide = save_tiny(tmp_path/'other', seed=1), save_tiny(tmp_path/'wide', hidden=48)
    with pytest.raises(ValueError, match=f"was trained on .*tiny .*, not on {other}"): load_model(other, adapter=first[1])
    shutil.copytree(first[1], tmp_path/'elsewhere', ignore=shutil.ignore_patterns('sft.json'))
    with pytest.raises(ValueError, match='does not fit .*wide: it is made for .*tiny: load that base'): load_model(wide, adapter=tmp_path/'elsewhere')


def test_policies_that_cannot_hold(base, first, tmp_path):
    with pytest.raises(ValueError, match='carries an adapter already: say with adapter_policy'): sft(first[0], people(), tmp_path/'x')
    with pytest.raises(ValueError, match='carries no adapter to merge'): sft(load_model(base), people(), tmp_path/'x', adapter_policy='merge')
    with pytest.raises(ValueError, match="its rank is 2, so it can't be continued with rank 4"):
        sft(first[0], people(), tmp_path/'x', adapter_policy='continue', rank=4)
    with pytest.raises(ValueError, match='holds the adapter that is to be trained further'):
        sft(first[0], people(), first[1], adapter_policy='continue', overwrite=True)
    with pytest.raises(ValueError, match="stage is 'warmup': use one of foundation, task"):
        sft(load_model(base), people(), tmp_path/'x', stage='warmup')
    assert not (tmp_path/'x').exists()


@pytest.mark.parametrize('loss, mix', [('answer', None), ('option', None), ('option', MIX)])
def test_sharing_changes_nothing_but_the_time(base, tmp_path, loss, mix):
    settings = {**SMALL, 'loss': loss, 'batch': 3, 'micro': 1}
    for s in (True, False): sft(load_model(base), mixed() if mix else people(), tmp_path/str(s), share_prefixes=s, mix=mix, **settings)
    a, b = (pd.read_csv(tmp_path/s/'loss.csv').loss for s in ('True', 'False'))
    assert np.allclose(a, b, rtol=1e-4)


def test_distribution_comes_to_the_shares_of_groups(base, tmp_path):
    settings = dict(loss='distribution', lr=.02, batch=3, micro=1, rank=4, epochs=40, answer_share=.1, warmup=.05)
    shared, plain = (sft(load_model(base), groups(), tmp_path/str(s), share_prefixes=s, **settings) for s in (True, False))
    a, b = (pd.read_csv(tmp_path/s/'loss.csv').loss for s in ('True', 'False'))
    assert np.allclose(a[:10], b[:10], rtol=1e-3)
    p = np.array(groups()['target'])
    q = lambda lm: answers(lm, groups(), 'distribution').reshape(3, 3).softmax(1).numpy()
    distance = lambda lm: abs(q(lm) - p).sum(1)/2
    assert (distance(shared) < .1).all() and (distance(load_model(base)) > .15).any()


def test_groups_count_by_the_people_behind_them(base, tmp_path):
    "The first loss is the mean of the divergences, each times its n over the mean n."
    lm = load_model(base)
    sft(lm, groups(), tmp_path/'a', loss='distribution', batch=3, micro=1, epochs=1)
    p, n = torch.tensor(groups()['target']), torch.tensor(groups()['n']).float()
    q = answers(lm, groups(), 'distribution').reshape(3, 3).log_softmax(1)
    kl = (torch.xlogy(p, p) - p*q).sum(1)
    assert pd.read_csv(tmp_path/'a'/'loss.csv').loss[0] == pytest.approx((n*kl).sum().item()/n.sum().item(), rel=1e-4)
    with pytest.raises(ValueError, match="s/0/roads: has no shares or no n: loss='distribution' needs group records"):
        sft(lm, people(), tmp_path/'b', loss='distribution')


def run(base, out, validated, settings):
    "A run in a process of its own, what it says in a file."
    for said in (1, 2): os.dup2(os.open(f'{out}.txt', os.O_WRONLY | os.O_CREAT | os.O_APPEND), said)
    score = lambda lm: answers(lm, people(2, 20)).mean().item()**2
    judged = dict(validate=score, validate_every=3, patience=50) if validated else {}
    sft(load_model(base), mixed(), out, mix=MIX, save_every=2, **judged, **settings)


@pytest.fixture(scope='module')
def start():
    "Starts `run`; what takes seconds to import is imported once, and each process a copy of that."
    at_once = 'forkserver' in multiprocessing.get_all_start_methods()
    processes = multiprocessing.get_context('forkserver' if at_once else 'spawn')
    if at_once: processes.set_forkserver_preload(['pytest', 'trl.trainer.sft_trainer', 'alignsurvey.training.trainer', 'alignsurvey.prediction.elicitation'])
    with pytest.MonkeyPatch.context() as m:
        for k in ('TQDM_DISABLE', 'OMP_NUM_THREADS'): m.setenv(k, '1')
        if at_once: forkserver.ensure_running()
    def begin(*args):
        process = processes.Process(target=run, args=args)
        process.start()
        return process
    return begin


def finish(process, out):
    process.join(300)
    assert process.exitcode == 0, Path(f'{out}.txt').read_text()[-2000:]


@pytest.mark.parametrize('validated', [False, True], ids=['', 'validated'])
def test_killed_and_resumed_is_as_if_nothing_had_been(base, start, tmp_path, validated):
    settings = {**SMALL, 'epochs': 12, 'dropout': .1}
    finish(start(base, tmp_path/'whole', validated, settings), tmp_path/'whole')
    rng, kills, reached = random.Random(5), 0, []
    for _ in range(3):
        process, folder = start(base, tmp_path/'cut', validated, settings), tmp_path/'cut'/'checkpoints'
        seen = {p.name for p in folder.glob('checkpoint-*')}
        while process.is_alive() and not {p.parent.name for p in folder.glob('*/whole')} - seen: time.sleep(.005)
        time.sleep(rng.random()*.2)
        if process.is_alive(): kills += 1
        process.kill()
        process.join()
        reached.append(max(int(p.parent.name.split('-')[1]) for p in folder.glob('*/whole')))
    assert reached == sorted(set(reached)), 'a run began anew in place of going on'
    assert kills == 3 and not (tmp_path/'cut'/'sft.json').exists()
    finish(start(base, tmp_path/'cut', validated, settings), tmp_path/'cut')
    a, b = weights(tmp_path/'whole'), weights(tmp_path/'cut')
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert pd.read_csv(tmp_path/'whole'/'loss.csv').equals(pd.read_csv(tmp_path/'cut'/'loss.csv'))
    if validated: assert pd.read_csv(tmp_path/'whole'/'validation.csv').equals(pd.read_csv(tmp_path/'cut'/'validation.csv'))


def interrupted(base, out, **kw):
    "A run that ends in the middle, at its fifth step."
    def stop(lm):
        if lm.adapter == 'step 5': raise KeyboardInterrupt
        return 1.
    with pytest.raises(KeyboardInterrupt): sft(load_model(base), people(), out, validate=stop, validate_every=1, **SMALL, **kw)


def test_an_unfinished_run_is_not_mixed_with_another(base, tmp_path):
    interrupted(base, tmp_path/'a')
    kept = tmp_path/'a'/'checkpoints'
    assert sorted(p.name for p in kept.glob('*/whole')) == ['whole']*len(list(kept.glob('checkpoint-*')))
    with pytest.raises(ValueError, match='holds an unfinished run with another lr'):
        sft(load_model(base), people(), tmp_path/'a', validate=lambda lm: 1., validate_every=1, **{**SMALL, 'lr': .02})
    with pytest.raises(ValueError, match='holds an unfinished run with another records'):
        sft(load_model(base), people(5), tmp_path/'a', validate=lambda lm: 1., validate_every=1, **SMALL)
    sft(load_model(base), people(), tmp_path/'a', overwrite=True, **SMALL)
    assert card(tmp_path/'a')['steps'] == 6


def test_a_run_that_is_through_is_kept_where_no_table_can_be_compared_with(base, tmp_path, capsys):
    "Held-out records of two tasks have a score, and no one table of training shares: that is said, and the adapter is there."
    sft(load_model(base), people(4, 20), tmp_path/'a', validate=mixed(2), validate_every=1, **SMALL)
    assert 'not compared with the training shares: ' in capsys.readouterr().out
    assert 'held_out' not in card(tmp_path/'a')
    sft(load_model(base), people(4, 20), tmp_path/'b', validate=people(4), validate_every=1, **SMALL)
    assert card(tmp_path/'b')['held_out']['ci_low'] < card(tmp_path/'b')['held_out']['ci_high']
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith('step ')]
    table, scores = card(tmp_path/'b')['held_out']['training_shares'], pd.read_csv(tmp_path/'b'/'validation.csv')
    assert [line.split(':')[0] for line in said] == [f'step {i}' for i in scores.step]
    assert all(f'training shares {table:.3f}' in line for line in said)
    assert ['still worse' in line for line in said] == (scores.score > table).tolist()


def test_the_best_step_is_kept_and_a_run_ends_early(base, tmp_path):
    scores, seen = iter([3., 2., 4., 5., 6., 7.]), {}
    def validate(lm):
        assert not lm.model.training and not torch.is_grad_enabled()
        seen[lm.adapter] = answers(lm, people())
        return next(scores)
    tuned = sft(load_model(base), people(8), tmp_path/'a', validate=validate, validate_every=2, patience=2, **{**SMALL, 'epochs': 6})
    table = pd.read_csv(tmp_path/'a'/'validation.csv')
    assert table.step.tolist() == [2, 4, 6, 8] and table.score.tolist() == [3, 2, 4, 5]
    assert card(tmp_path/'a')['best_step'] == 4 and card(tmp_path/'a')['steps'] == 8
    assert (answers(tuned, people()) - seen['step 4']).abs().max() < 1e-5
    assert (answers(tuned, people()) - seen['step 8']).abs().max() > 1e-4


def test_a_validation_that_gives_no_number(base, tmp_path):
    with pytest.raises(ValueError, match='validate gave nan at step 2: it must give a number'):
        sft(load_model(base), people(), tmp_path/'a', validate=lambda lm: float('nan'), validate_every=2, **SMALL)


def test_records_over_the_limit_are_counted(base, tmp_path):
    longest = people().map(lambda r, i: {'instruction': r['instruction'] + ' and so on'*(30 if i in (3, 7) else 0)}, with_indices=True)
    with pytest.warns(UserWarning, match='2 of 12 records have more than 200 tokens and are left out, s/1/parks the first'):
        sft(load_model(base), longest, tmp_path/'a', limit=200, **SMALL)
    assert card(tmp_path/'a')['records'] == 10 and card(tmp_path/'a')['left_out'] == 2
    with pytest.raises(ValueError, match='all 12 records have more than 5 tokens'): sft(load_model(base), people(), tmp_path/'b', limit=5, **SMALL)
    beyond = people().map(lambda r: {'instruction': r['instruction'] + ' and so on'*60})
    with pytest.raises(ValueError, match='all 12 records have more than 512 tokens'):
        sft(load_model(base), beyond, tmp_path/'b', **SMALL)     # the model's own limit


def test_a_loss_that_is_no_number(base, tmp_path):
    with pytest.raises(ValueError, match=r'the loss is not a number at step \d+: lower lr \(now 1e\+20\); no adapter was saved'):
        sft(load_model(base), people(), tmp_path/'a', save_every=1, trainer_args=dict(max_grad_norm=0), **{**SMALL, 'lr': 1e20, 'warmup': 0})
    assert not (tmp_path/'a'/'adapter_model.safetensors').exists()


def test_whom_either_stage_has_met_is_refused_by_name(base, first, tmp_path, here):
    "One respondent in both stages and one in the first alone are planted in what is held out."
    one, planted = first[0], lambda i: make_records(people(3, 50).to_list() + people(1, i).to_list())    # the first stage met 0 to 5
    said = "respondent 's/{}' of the {} is in the training data of stage '{}'"
    still = {**SMALL, 'epochs': 1}
    with pytest.raises(ValueError, match=said.format(2, 'held-out records', 'task')):
        sft(load_model(base), people(4), tmp_path/'x', held_out=planted(2), **still)
    for i in (2, 5):
        for policy in ('continue', 'merge'):
            with pytest.raises(ValueError, match=said.format(i, 'held-out records', 'foundation')):
                sft(one, people(4, 2), tmp_path/'x', adapter_policy=policy, held_out=planted(i), **still)
    with pytest.raises(ValueError, match=said.format(5, 'validation records', 'foundation')):
        sft(one, people(2, 2), tmp_path/'x', adapter_policy='merge', validate=planted(5), **still)
    assert not (tmp_path/'x').exists()
    two = sft(one, people(2, 2), tmp_path/'two', adapter_policy='merge', held_out=planted(60), **still)
    with pytest.raises(ValueError, match=said.format(5, 'records', 'foundation')): predict(two, planted(5))
    assert len(predict(two, planted(60))) == len(predict(two, planted(5), unseen=None)) == 8
    with pytest.raises(ValueError, match="item 's/.*' of the records is in the training data"): predict(two, planted(60), unseen='item')
    # which has not met whom the first stage met
    fresh = sft(one, people(2, 8), tmp_path/'fresh', adapter_policy='fresh', held_out=planted(5), **still)
    assert len(predict(fresh, planted(5))) == 8
    write_records(planted(2), tmp_path/'test.jsonl')
    code, _, told = here('predict', tmp_path/'test.jsonl', tmp_path/'p.jsonl', '--model', base, '--adapter', tmp_path/'two')
    assert code == 2 and "respondent 's/2' of the records is in the training data" in told and 'unseen' in told
    assert 's/2' not in (tmp_path/'two'/'trained_on.json').read_text()


def test_the_answer_loss_is_that_of_trl(base, tmp_path):
    "Conversations that TRL reads and masks itself, and our records, with shared prefixes and without: the same tokens, the same loss."
    from trl import SFTConfig, SFTTrainer
    lm, records = load_model(base), people()
    theirs = [dict(prompt=[dict(role='user', content=r['instruction'])], completion=[dict(role='assistant', content=r['output'])]) for r in records]
    plain = dict(output_dir=str(tmp_path), use_cpu=True, report_to='none', max_length=None, per_device_train_batch_size=len(records), bf16=False)
    trainer = SFTTrainer(model=lm.model, args=SFTConfig(**plain), train_dataset=Dataset.from_list(theirs), processing_class=lm.tokenizer)
    batch = trainer.data_collator(list(trainer.train_dataset))
    with torch.no_grad(): wanted = trainer.compute_loss(lm.model, dict(batch)).item()
    rows, recipe = list(tokenised(lm, records, 'answer')), make_recipe('task', dict(max_tokens=100))
    ours = collate_answers(rows, lm.tokenizer.pad_token_id)
    assert torch.equal(ours['input_ids'], batch['input_ids']) and torch.equal(ours['labels'], batch['labels'])
    parts = collate_shared(rows, recipe)['parts']
    with torch.no_grad(), shared_attention(lm.model):
        shared = sum(part_loss(read_logprobs(lm.model, p['prefix_batch']), p, recipe).item()/p['count'] for p in parts)
    with torch.no_grad(): padded = lm.model(**ours).loss.item()
    assert len(parts) > 1 and abs(shared - wanted) < 1e-5 and abs(padded - wanted) < 1e-5


@pytest.mark.parametrize('how', [dict(), dict(share_prefixes=False), dict(loss='answer', share_prefixes=False), dict(mix=MIX)], ids=str)
def test_an_estimate_counts_the_steps_and_changes_nothing(base, tmp_path, how):
    lm, settings = load_model(base), {**SMALL, 'batch': 6, **how}
    before = {k: v.clone() for k, v in lm.model.state_dict().items()}
    torch.manual_seed(7)
    found = estimate_training(lm, mixed(), **settings)
    drawn = torch.rand(1)
    torch.manual_seed(7)
    assert drawn == torch.rand(1) and all(torch.equal(v, before[k]) for k, v in lm.model.state_dict().items())
    sft(lm, mixed(), tmp_path/'a', **settings)
    assert found['steps'] == card(tmp_path/'a')['steps'] == card(tmp_path/'a')['fit']['steps'] == 10
    rows = list(tokenised(lm, mixed(), settings['loss']))
    assert found['seconds'] > 0 and found['memory'] > 2e8 and found['tokens'] < 6*max(len(r['prompt']) + sum(map(len, r['options'])) for r in rows)


def test_held_out_records_are_scored_as_their_task_is(base, tmp_path):
    lm, free = load_model(base), make_records([dict(instruction='say', output='well then', task='interview', source='s', respondent_id='9')])
    q = answers(lm, people()).reshape(-1, 2).log_softmax(1)
    for share in (True, False):
        score = lambda records: held_out_score(records, share_prefixes=share)(lm)
        assert score(people()) == pytest.approx(-q[range(12), people()['answer_index'][:]].mean().item(), rel=1e-4)
        tokens = len(next(iter(tokenised(lm, free, 'answer')))['options'][0])
        assert score(free) == pytest.approx(-answers(lm, free, 'answer').item()/tokens, rel=1e-4)
        p, shares = answers(lm, groups(), 'distribution').reshape(3, 3).softmax(1).numpy(), np.array(groups()['target'])
        assert score(groups()) == pytest.approx((abs(p - shares).sum(1)/2).mean(), rel=1e-4)
        ranked = groups().map(lambda r: dict(scale='ordinal', positions=[0., 1., 2.]))
        assert score(ranked) == pytest.approx((abs((p - shares).cumsum(1)[:, :2]).sum(1)/2).mean(), rel=1e-4)
    with pytest.raises(ValueError, match='the held-out records are scored in 2 ways'):
        held_out_score(make_records(people().to_list() + free.to_list()))


def test_what_trl_reports_to_is_told(base, tmp_path, monkeypatch):
    from transformers import TrainerCallback
    from transformers.integrations import INTEGRATION_TO_CALLBACK
    told = []
    class Recorder(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            told.append((Path(args.output_dir).name, sorted(set(logs) & {'loss', 'eval_score'})))
    monkeypatch.setitem(INTEGRATION_TO_CALLBACK, 'tensorboard', Recorder)
    sft(load_model(base), people(), tmp_path/'a', validate=people(2, 20), validate_every=3, trainer_args=dict(report_to='tensorboard'), **SMALL)
    assert told.count(('checkpoints', ['loss'])) == 6 and told.count(('checkpoints', ['eval_score'])) == 2


def test_nothing_to_train_on(base, tmp_path):
    with pytest.raises(ValueError, match='there are no training records'): sft(load_model(base), people().select([]), tmp_path/'a')


def test_from_the_command_line(base, cli, here, tmp_path):
    write_records(people(), tmp_path/'train.jsonl')
    small = ['--model', base, '--loss', 'option', '--batch', 4, '--micro', 2]
    assert cli('train', tmp_path/'train.jsonl', tmp_path/'one', '--stage', 'foundation', '--rank', 2, *small)[0] == 0
    train = lambda out, *args: here('train', tmp_path/'train.jsonl', tmp_path/out, *args, *small)
    code, _, said = train('two', '--adapter', tmp_path/'one')
    assert code == 2 and 'say with adapter_policy' in said.splitlines()[-1]
    code, _, said = train('two', '--adapter', tmp_path/'one', '--adapter-policy', 'continue')
    assert code == 0, said
    assert card(tmp_path/'one')['steps'] == 3 and card(tmp_path/'two')['steps'] == 9      # one epoch, then three
    line = train('three', '--estimate', '--adapter', tmp_path/'one', '--adapter-policy', 'merge')[1]
    assert line.startswith('9 steps of 4 records') and not (tmp_path/'three').exists()
    write_records(people(3, 20), tmp_path/'validation.jsonl')
    code, _, said = train('three', '--validation', tmp_path/'validation.jsonl', '--validate-every', 2, '--mix', 'response=1',
        '--trainer-args', '{"max_steps": 4}')
    assert code == 0 and len(pd.read_csv(tmp_path/'three'/'validation.csv')) == 2 and card(tmp_path/'three')['fit']['steps'] == 4, said
    for option, wrong, why in (('--mix', 'response', 'give each task a weight'), ('--trainer-args', 'x', 'give a JSON object'),
            ('--held-out', tmp_path/'train.jsonl', 'of the held-out records is in the training data')):
        code, _, said = train('four', option, wrong)
        assert code == 2 and why in said
    assert card(tmp_path/'two')['recipe']['rank'] == 2 and [h['stage'] for h in lineage(tmp_path/'two')] == ['foundation', 'task']


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path/'disk'
    place.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=600k', 'tmpfs', place], capture_output=True).returncode:
        pytest.skip('a small disk needs the right to mount one')
    yield place
    subprocess.run(['umount', '-l', place])


def test_a_full_disk(base, small_disk):
    "Checkpoints fill it: the run ends in a sentence; with room again it goes on from what was whole."
    settings, filler = {**SMALL, 'epochs': 4}, small_disk/'filler'
    def fill(lm):
        if lm.adapter == 'step 4':
            with open(filler, 'wb') as f: f.write(bytes(max(0, shutil.disk_usage(small_disk).free - 40_000)))
        return 1.
    with pytest.raises(OSError, match='the disk is full: free some space and call again with the same settings'):
        sft(load_model(base), people(), small_disk/'a', validate=fill, validate_every=2, **settings)
    filler.unlink()
    left = [p.parent.name for p in (small_disk/'a'/'checkpoints').glob('*/whole')]
    assert left == ['checkpoint-2'] and load_model(base, adapter=small_disk/'a'/'checkpoints'/'checkpoint-2')
    asked = []
    sft(load_model(base), people(), small_disk/'a', validate=lambda lm: asked.append(lm.adapter) or 1., validate_every=2, **settings)
    assert asked == ['step 4', 'step 6', 'step 8', 'step 10', 'step 12'] and card(small_disk/'a')['steps'] == 12


AUTO = {**SMALL, 'lr': 'auto', 'epochs': 6}


def test_a_run_that_can_hardly_learn_says_what_fits(base, tmp_path, capsys):
    for name, more, is_told in (('few', {}, True), ('fitting', fitting_recipe(32, 12), False)):
        sft(load_model(base), people(), tmp_path/name, **dict(loss='option', epochs=1, batch=64, micro=2) | more)
        assert ('few steps at a small rate (1 at 0.0001): what fits a model of this width and 12 records is lr=0.01, batch=8'
            in capsys.readouterr().out) == is_told


@pytest.mark.parametrize('n, batch, respondents, said', [
    (16, 8, 1, 'a step of 8 records comes from about 4.0 of 16 respondents: little is learnt so of how people differ; try respondents=8, which'),
    (16, 4, 2, 'a step of 4 records comes from about 2.0 of 16 respondents: little is learnt so of how people differ; try respondents=8 and batch=8, which'),
    (16, 8, 8, None), (16, 16, 1, None), (6, 4, 1, None)])
def test_a_run_whose_steps_hold_few_people_says_so(base, tmp_path, capsys, n, batch, respondents, said):
    sft(load_model(base), people(n), tmp_path/'a', **dict(SMALL, batch=batch, respondents=respondents))
    told = capsys.readouterr().out
    assert said in told if said else 'comes from about' not in told


def test_a_run_that_begins_at_a_table_is_not_told_to_learn_faster(base, tmp_path, capsys):
    sft(load_model(base), with_offsets(people())[0], tmp_path/'a', loss='residual', epochs=1, batch=64, micro=2)
    assert 'few steps' not in capsys.readouterr().out


def test_a_learning_rate_is_found_in_the_run(base, tmp_path, capsys):
    sft(load_model(base), people(8), tmp_path/'a', validate=people(4, 20), validate_every=4, minutes=1, **AUTO)
    kept, said = card(tmp_path/'a'), capsys.readouterr().out
    found = pd.DataFrame(kept['rates']['table'])
    assert found.lr.tolist() == [0, 1e-4, 3e-4, 1e-3] and found.steps.nunique() == 2
    assert kept['recipe']['lr'] == kept['rates']['best'] == found.lr[1:][found.score[1:].idxmin()]
    assert f"learning rate {kept['rates']['best']:g}, found in" in said
    assert pd.read_csv(tmp_path/'a'/'loss.csv').lr.max() == kept['rates']['best']
    text = adapter_card(tmp_path/'a', data='invented people')
    assert f"- learning rate {kept['rates']['best']:g}, found in" in text and f"- held-out respondents: log score {kept['held_out']['log_score']:.3f}" in text
    plain = {**AUTO, 'lr': kept['rates']['best']}
    sft(load_model(base), people(8), tmp_path/'b', validate=people(4, 20), validate_every=4, **plain)
    a, b = weights(tmp_path/'a'), weights(tmp_path/'b')
    assert all(torch.equal(a[k], b[k]) for k in a)      # the sweep leaves nothing behind in the model or its seed


def test_a_run_that_was_cut_off_after_its_sweep_does_not_sweep_again(base, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as m:
        def cut(*args): raise KeyboardInterrupt
        m.setattr('alignsurvey.training.trainer.training_line', cut)
        with pytest.raises(KeyboardInterrupt): sft(load_model(base), people(8), tmp_path/'a', validate=people(4, 20), minutes=1, **AUTO)
    kept = json.loads((tmp_path/'a'/'checkpoints'/'rates.json').read_text())
    with pytest.raises(ValueError, match='holds an unfinished run with another lr'):
        sft(load_model(base), people(8), tmp_path/'a', validate=people(4, 20), **{**AUTO, 'lr': .01})
    capsys.readouterr()
    sft(load_model(base), people(8), tmp_path/'a', validate=people(4, 20), minutes=1, **AUTO)
    assert 'found in' not in capsys.readouterr().out and card(tmp_path/'a')['rates'] == kept


def test_a_learning_rate_needs_people_and_time_to_be_found(base, tmp_path):
    for other in (None, lambda lm: 1.):
        with pytest.raises(ValueError, match="lr='auto' is found on held-out records: give validate=records"):
            sft(load_model(base), people(), tmp_path/'a', validate=other, **AUTO)
    with pytest.raises(ValueError, match='two steps at 3 rates take .*: give so many minutes'):
        sft(load_model(base), people(), tmp_path/'b', validate=people(4, 20), minutes=1e-6, **AUTO)


def test_a_quarter_of_the_steps_is_for_the_sweep(base, tmp_path):
    "With the offsets of a table the rates are lower; without minutes the whole run decides how long each is tried."
    known, new = with_offsets(people(8), people(4, 20))
    sft(load_model(base), known, tmp_path/'a', validate=new, validate_every=50, **{**AUTO, 'loss': 'residual', 'epochs': 30})
    found = card(tmp_path/'a')['rates']
    assert [row['lr'] for row in found['table']] == [0, 1e-5, 1e-4, 1e-3]
    assert found['table'][1]['steps'] == 120//28 and found['records'] == 8
