"Training and adapters under attack: runs that go on with other data, damaged checkpoints, two at once, settings that are no settings, adapters that do not fit, models that forget whom they met."
import json, multiprocessing, shutil, time, warnings
from pathlib import Path
import pandas as pd, pytest, torch
from safetensors.torch import load_file, save_file
from alignsurvey.models.export import export_lora, merge
from alignsurvey.models.loading import load_model, weights_hash
from alignsurvey.prediction.elicitation import predict
from alignsurvey.records.reading import write_records
from alignsurvey.reporting.model_card import adapter_card
from alignsurvey.training.checkpoints import claim_folder
from alignsurvey.training.trainer import sft
from test_sft import SMALL, TEMPLATE, card, groups, people, save_tiny, weights


@pytest.fixture(scope='module')
def base(tmp_path_factory): return save_tiny(tmp_path_factory.mktemp('model')/'tiny')


@pytest.fixture(scope='module')
def tuned(base, tmp_path_factory):
    out = tmp_path_factory.mktemp('tuned')/'a'
    sft(load_model(base), people(), out, **{**SMALL, 'lr': .3})
    return out


def score(lm): return 1.


def cut_off(lm, records, out, at=4, **kw):
    "A run that is cut off after a few steps, each with a checkpoint."
    def stop(now):
        if now.adapter == f'step {at}': raise KeyboardInterrupt
        return 1.
    with pytest.raises(KeyboardInterrupt): sft(lm, records, out, validate=stop, validate_every=1, **{**SMALL, **kw})


def go_on(lm, records, out, **kw): return sft(lm, records, out, validate=score, validate_every=1, **{**SMALL, **kw})


def checkpoints(out): return sorted((out/'checkpoints').glob('checkpoint-?'))


OTHER = {
    'shares': lambda g: g.map(lambda r: {'target': r['target'][::-1]}),
    'people behind them': lambda g: g.map(lambda r: {'n': {'women': 1, 'men': 1000, 'others': 3}[r['respondent_id']]}),
    'order of options': lambda g: g.map(lambda r: {'options': r['options'][::-1]}),
    'order of records': lambda g: g.select([2, 1, 0]),
    'respondents': lambda g: g.map(lambda r: {'respondent_id': 'same'}),
}


@pytest.mark.parametrize('what', OTHER)
def test_a_run_does_not_go_on_with_other_records(base, tmp_path, what):
    lm, settings = load_model(base), dict(loss='distribution', batch=1, micro=1)
    cut_off(lm, groups(), tmp_path/'a', **settings)
    with pytest.raises(ValueError, match='holds an unfinished run with another tokens_hash'): go_on(lm, OTHER[what](groups()), tmp_path/'a', **settings)
    go_on(lm, groups(), tmp_path/'a', **settings)
    assert len(card(tmp_path/'a')['tokens_hash']) == 16


def test_a_run_knows_its_validation_records(base, tmp_path):
    lm, known = load_model(base), groups().map(lambda r: {'respondent_id': 'known ' + r['respondent_id']})
    found = set()
    for i, change in enumerate((lambda g: g, OTHER['shares'], OTHER['order of options'], OTHER['order of records'])):
        sft(lm, known, tmp_path/f'{i}', validate=change(groups()), validate_every=1, **{**SMALL, 'loss': 'distribution', 'epochs': 1})
        found.add(card(tmp_path/f'{i}')['validation_fields_hash'])
    assert len(found) == 4


def test_a_run_does_not_go_on_with_another_chat_template(tmp_path):
    base = save_tiny(tmp_path/'m')
    cut_off(load_model(base), people(), tmp_path/'a')
    (tmp_path/'m'/'chat_template.jinja').write_text(TEMPLATE.replace('{{ m.content }}', 'Survey: {{ m.content }}'))
    with pytest.raises(ValueError, match='another tokens_hash'): go_on(load_model(base), people(), tmp_path/'a')
    sft(load_model(base), people(), tmp_path/'b', **SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        load_model(base, adapter=tmp_path/'b')
    (tmp_path/'m'/'chat_template.jinja').write_text(TEMPLATE)
    with pytest.warns(UserWarning, match='was trained with another tokenizer or chat template'): load_model(base, adapter=tmp_path/'b')


def test_a_run_of_an_earlier_version_goes_on(base, tmp_path):
    "Its file lacks what later ones tell, and its marks are empty."
    lm = load_model(base)
    cut_off(lm, people(), tmp_path/'a')
    file = tmp_path/'a'/'checkpoints'/'run.json'
    told = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in told.items() if k not in ('tokens_hash', 'tokenizer_hash', 'validation_fields_hash')}))
    for checkpoint in checkpoints(tmp_path/'a'): (checkpoint/'whole').write_text('')
    go_on(lm, people(), tmp_path/'a')
    go_on(lm, people(), tmp_path/'b')
    assert all(torch.equal(v, weights(tmp_path/'b')[k]) for k, v in weights(tmp_path/'a').items())


def half(path): path.write_bytes(path.read_bytes()[:path.stat().st_size//2])


DAMAGE = {
    'weights': lambda last: half(last/'adapter_model.safetensors'),
    'optimizer': lambda last: half(last/'optimizer.pt'),
    'no optimizer': lambda last: (last/'optimizer.pt').unlink(),
    'no scheduler': lambda last: (last/'scheduler.pt').unlink(),
    'state': lambda last: half(last/'trainer_state.json'),
    'mark': lambda last: half(last/'whole'),
    'a copy': lambda last: shutil.copytree(last, last.with_name('checkpoint-9 (copy)')),
    'a file': lambda last: last.with_name('checkpoint-9').write_text('x'),
    'another name': lambda last: shutil.copytree(last, last.with_name('checkpoint-old')),
    'the best is gone': lambda last: shutil.rmtree(last.with_name('checkpoint-1')),
}


@pytest.fixture(scope='module')
def uninterrupted(base, tmp_path_factory):
    out = tmp_path_factory.mktemp('whole')/'a'
    go_on(load_model(base), people(), out)
    return out


@pytest.mark.parametrize('what', DAMAGE)
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(base, tmp_path, uninterrupted, what):
    lm = load_model(base)
    cut_off(lm, people(), tmp_path/'a')
    DAMAGE[what](checkpoints(tmp_path/'a')[-1])
    go_on(lm, people(), tmp_path/'a')
    a, b = weights(tmp_path/'a'), weights(uninterrupted)
    assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    assert pd.read_csv(tmp_path/'a'/'loss.csv').equals(pd.read_csv(uninterrupted/'loss.csv'))
    assert pd.read_csv(tmp_path/'a'/'validation.csv').equals(pd.read_csv(uninterrupted/'validation.csv'))
    assert card(tmp_path/'a')['best_step'] == card(uninterrupted)['best_step'] == 1


def test_a_run_whose_folder_was_moved_goes_on(base, tmp_path, uninterrupted):
    lm = load_model(base)
    cut_off(lm, people(), tmp_path/'a')
    (tmp_path/'a').rename(tmp_path/'b')
    go_on(lm, people(), tmp_path/'b')
    assert card(tmp_path/'b')['best_step'] == 1 and all(torch.equal(v, weights(uninterrupted)[k]) for k, v in weights(tmp_path/'b').items())


@pytest.mark.parametrize('text', ['[]', '{"recipe": []}', '3', '{'])
def test_a_damaged_file_of_the_run_is_named(tmp_path, text):
    claim_folder(tmp_path/'a'/'checkpoints', dict(recipe=dict(lr=1)))
    (tmp_path/'a'/'checkpoints'/'run.json').write_text(text)
    with pytest.raises(ValueError, match='run.json'): claim_folder(tmp_path/'a'/'checkpoints', dict(recipe=dict(lr=1)))
    assert claim_folder(tmp_path/'a'/'checkpoints', dict(recipe=dict(lr=1)), overwrite=True) is None


def hold(base, out, begun, end):
    "A run in another process that waits in the middle."
    def wait(lm):
        begun.set()
        end.wait(100)
        return 1.
    sft(load_model(base), people(), out, validate=wait, validate_every=3, **SMALL)


def test_one_process_at_a_time_trains_in_a_folder(base, tmp_path):
    processes = multiprocessing.get_context('spawn')
    begun, end = processes.Event(), processes.Event()
    one = processes.Process(target=hold, args=(base, tmp_path/'a', begun, end))
    one.start()
    try:
        assert begun.wait(200)
        for kw in (dict(), dict(overwrite=True)):
            with pytest.raises(ValueError, match=f"{tmp_path/'a'}: is being trained by another process"):
                sft(load_model(base), people(), tmp_path/'a', validate=score, validate_every=3, **SMALL, **kw)
    finally: end.set()
    one.join(200)
    assert one.exitcode == 0 and card(tmp_path/'a')['steps'] == 6
    with pytest.raises(FileExistsError): sft(load_model(base), people(), tmp_path/'a', **SMALL)
    assert not [p.name for p in (tmp_path/'a').iterdir() if p.name.startswith('checkpoints')]


def test_a_killed_run_leaves_its_folder_free(base, tmp_path):
    processes = multiprocessing.get_context('spawn')
    begun, end = processes.Event(), processes.Event()
    one = processes.Process(target=hold, args=(base, tmp_path/'a', begun, end))
    one.start()
    assert begun.wait(200)
    one.kill()
    one.join()
    sft(load_model(base), people(), tmp_path/'a', validate=score, validate_every=3, **SMALL)
    assert sorted(p.name for p in (tmp_path/'a').iterdir()) == ['README.md', 'adapter_config.json', 'adapter_model.safetensors', 'loss.csv', 'sft.json', 'trained_on.json', 'validation.csv']


NO_SETTINGS = [
    (dict(validate_every=0), 'validate_every is 0: give a whole number'),
    (dict(validate_every=None), 'validate_every is None'),
    (dict(validate_every='2'), "validate_every is '2'"),
    (dict(validate_every=1.5), 'validate_every is 1.5'),
    (dict(validate_every=-1), 'validate_every is -1'),
    (dict(patience='1'), "patience is '1'"),
    (dict(patience=-1), 'patience is -1'),
    (dict(patience=0), 'patience is 0'),
    (dict(patience=True), 'patience is True'),
    (dict(save_every=-1), 'save_every is -1'),
    (dict(save_every=2.5), 'save_every is 2.5'),
    (dict(epochs='2'), "epochs is '2': give a number"),
    (dict(epochs=float('inf')), 'epochs is inf'),
    (dict(batch='4'), "batch is '4': give a whole number"),
    (dict(batch=2.5, micro=1), 'batch is 2.5'),
    (dict(rank=True), 'rank is True'),
    (dict(alpha=0), 'alpha is 0'),
    (dict(dropout=1.5), 'dropout is 1.5'),
    (dict(warmup=2), 'warmup is 2'),
    (dict(seed=-1), 'seed is -1'),
    (dict(seed=2**40), 'seed is 1099511627776'),
    (dict(lr=True), 'lr is True'),
    (dict(lr=float('inf')), 'lr is inf'),
    (dict(trainer_args=dict(nonsense=1)), "trainer_args: 'nonsense' is no setting of TRL's SFTConfig"),
    (dict(trainer_args=dict(max_steps='x')), "trainer_args: max_steps is 'x': give what it can be, such as its default, -1"),
    (dict(trainer_args=dict(gradient_checkpointing='yes')), "gradient_checkpointing is 'yes'"),
    (dict(trainer_args=[1]), 'trainer_args is'),
    *[(dict(trainer_args={k: v}), f'trainer_args: {k} is for sft to set: give {ours}') for k, v, ours in (('learning_rate', 1e-9, 'lr='), ('seed', 1, 'seed='),
        ('num_train_epochs', 1, 'epochs='), ('per_device_train_batch_size', 1, 'batch='), ('warmup_ratio', .1, 'warmup='), ('warmup_steps', 1, 'warmup='),
        ('output_dir', 'x', 'out='), ('max_length', 5, 'limit='), ('greater_is_better', True, 'validate='), ('load_best_model_at_end', False, 'validate='))],
]


@pytest.mark.parametrize('given, said', NO_SETTINGS, ids=str)
def test_settings_that_are_none(base, tmp_path, given, said):
    with pytest.raises(ValueError) as e: sft(load_model(base), people(), tmp_path/'a', **{**SMALL, 'validate': people(3, 50), **given})
    assert said in str(e.value) and '\n' not in str(e.value)
    assert not (tmp_path/'a').exists()


def test_validation_that_can_give_no_number(base, tmp_path):
    lm = load_model(base)
    with pytest.raises(ValueError, match='validation records have weight 0'):
        sft(lm, people(), tmp_path/'a', validate=people(3, 50).map(lambda r: {'weight': 0.}), validate_every=2, **SMALL)
    assert not (tmp_path/'a').exists()
    with pytest.raises(ValueError, match='validate gave None at step 2: it must give a number'):
        sft(lm, people(), tmp_path/'b', validate=lambda m: None, validate_every=2, **SMALL)


def test_the_command_line_says_it_in_a_sentence(base, here, tmp_path):
    for name, records in dict(train=people(), validation=people(3, 50)).items(): write_records(records, tmp_path/f'{name}.jsonl')
    for *option, why in (('--trainer-args', '{"nonsense": 1}', "'nonsense' is no setting"), ('--trainer-args', '{"max_steps": "x"}', "max_steps is 'x'"),
            ('--validation', tmp_path/'validation.jsonl', '--validate-every', 0, 'validate_every is 0')):
        code, _, said = here('train', tmp_path/'train.jsonl', tmp_path/'a', '--model', base, *option)
        assert code == 2 and why in said.splitlines()[-1] and not (tmp_path/'a').exists()


def test_what_overrides_is_on_the_card(base, tmp_path, capsys):
    args = dict(gradient_accumulation_steps=2, weight_decay=.1, hub_token='hf_secret')
    sft(load_model(base), people(), tmp_path/'a', trainer_args=args, **SMALL)
    assert card(tmp_path/'a')['trainer_args'] == dict(gradient_accumulation_steps=2, weight_decay=.1)
    assert card(tmp_path/'a')['steps'] == card(tmp_path/'a')['fit']['steps'] == 4
    assert capsys.readouterr().out.startswith('4 steps of 8 records')
    assert 'weight_decay 0.1' in adapter_card(tmp_path/'a', data='mine')
    for file in (tmp_path/'a').rglob('*.json'): assert 'hf_secret' not in file.read_text()


@pytest.mark.parametrize('args', [dict(eval_strategy='steps'), dict(assistant_only_loss=True, packing=True)], ids=str)
def test_a_trainer_that_can_not_be_made_leaves_the_model_as_it_was(base, tmp_path, args):
    lm = load_model(base)
    before = {name: type(m) for name, m in lm.model.named_modules()}
    with pytest.raises(ValueError): sft(lm, people(), tmp_path/'a', trainer_args=args, **SMALL)
    assert {name: type(m) for name, m in lm.model.named_modules()} == before and weights_hash(lm.model) == lm.base_hash
    assert not hasattr(lm.model, 'peft_config')


FOREIGN = {
    'other names': lambda w: {k.replace('.model.model.', '.model.transformer.'): v for k, v in w.items()},
    'no weights': lambda w: {},
    'a part': lambda w: dict(list(w.items())[:3]),
    'more': lambda w: w | {k.replace('layers.1', 'layers.7'): v.clone() for k, v in w.items() if 'layers.1' in k},
}


@pytest.mark.parametrize('what', FOREIGN)
def test_an_adapter_with_other_weights_than_it_needs(base, tuned, tmp_path, what):
    shutil.copytree(tuned, tmp_path/'a')
    file = tmp_path/'a'/'adapter_model.safetensors'
    save_file({k: v.contiguous() for k, v in FOREIGN[what](load_file(file)).items()}, file, metadata={'format': 'pt'})
    with pytest.raises(ValueError, match='adapter_model.safetensors is not the file that its card'): load_model(base, adapter=tmp_path/'a')
    (tmp_path/'a'/'sft.json').unlink()
    with pytest.raises(ValueError, match=f"does not fit .*tiny: {'it has no place for' if what == 'more' else 'it lacks'} .*lora_"): load_model(base, adapter=tmp_path/'a')


def test_an_adapter_under_another_card(base, tuned, tmp_path):
    shutil.copytree(tuned, tmp_path/'a')
    file = tmp_path/'a'/'adapter_model.safetensors'
    save_file({k: -v for k, v in load_file(file).items()}, file, metadata={'format': 'pt'})
    with pytest.raises(ValueError, match='adapter_model.safetensors is not the file that its card'): load_model(base, adapter=tmp_path/'a')
    told = card(tmp_path/'a')
    (tmp_path/'a'/'sft.json').write_text(json.dumps({k: v for k, v in told.items() if k not in ('adapter_hash', 'tokenizer_hash', 'trainer_args')}))
    load_model(base, adapter=tmp_path/'a')      # a card that does not tell


def test_whom_a_model_has_met_travels_with_it(base, tuned, tmp_path):
    lm, met = load_model(base, adapter=tuned), "respondent 's/0' of the .* is in the training data of stage 'task'"
    merge(lm, tmp_path/'merged')
    export_lora(lm, tmp_path/'served')
    merged, served = load_model(tmp_path/'merged'), load_model(base, adapter=tmp_path/'served')
    for model in (merged, served):
        with pytest.raises(ValueError, match=met): predict(model, people())
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert set(predict(model, people(2, 70)).status) == {'ok'}
    with pytest.raises(ValueError, match=met): sft(merged, people(4, 50), tmp_path/'b', held_out=people(), **SMALL)
    for policy in (None, 'continue', 'merge', 'fresh'):
        start = merged if policy is None else sft(merged, people(4, 50), tmp_path/'one', overwrite=True, **SMALL)
        out = tmp_path/f'further {policy}'
        further = sft(start, people(4, 60), out, adapter_policy=policy, **SMALL)
        with pytest.raises(ValueError, match=met): predict(further, people())
        stages = json.loads((out/'trained_on.json').read_text())
        assert len(stages) == len({json.dumps(s) for s in stages}) == (2 if policy in (None, 'fresh') else 3)
    merge(further, tmp_path/'again')
    with pytest.raises(ValueError, match=met): predict(load_model(tmp_path/'again'), people())
    merge(lm, tmp_path/'merged', overwrite=True)
    export_lora(lm, tmp_path/'served', overwrite=True)


def test_where_it_can_not_be_known_whom_a_model_has_met(base, tuned, tmp_path):
    shutil.copytree(tuned, tmp_path/'a')
    (tmp_path/'a'/'trained_on.json').unlink()
    merge(load_model(base, adapter=tuned), tmp_path/'merged')
    (tmp_path/'merged'/'trained_on.json').unlink()
    for lm in (load_model(base, adapter=tmp_path/'a'), load_model(tmp_path/'merged')):
        with pytest.warns(UserWarning, match="trained_on.json is missing, so nobody can tell whom it was trained on"): predict(lm, people(2, 70))
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            predict(lm, people(2, 70), unseen=None)
