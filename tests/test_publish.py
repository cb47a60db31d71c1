"Merged models, LoRA folders for a server, cards, and the hub: a server in its form on this machine, asked by another process."
import json, os, shutil, subprocess, sys
from pathlib import Path
import pandas as pd, pytest, torch, yaml
from transformers import AutoModelForCausalLM, AutoTokenizer
from alignsurvey.models.adapters import lineage
from alignsurvey.models.loading import load_model, same_base, weights_hash
from alignsurvey.reporting.model_card import adapter_card, push
from alignsurvey.models.export import export_lora, merge, serve_command
from alignsurvey.training.trainer import sft
from alignsurvey.all import Survey
import stub_hub
from test_sft import SMALL, answers, people, save_tiny

DATA = 'Answers made up for a test; no terms.'


@pytest.fixture(scope='module')
def base(tmp_path_factory): return save_tiny(tmp_path_factory.mktemp('model')/'tiny')


@pytest.fixture(scope='module')
def one(base, tmp_path_factory): return sft(load_model(base), people(), tmp_path_factory.mktemp('stage')/'one', **SMALL)


@pytest.fixture(scope='module')
def two(one, tmp_path_factory): return sft(one, people(4, 6), tmp_path_factory.mktemp('stage')/'two', adapter_policy='merge', **SMALL)


@pytest.fixture(scope='module')
def scores():
    whole = dict(question_id=None, group_var=None, versus=None, metric='log_score', n=12)
    return pd.DataFrame([dict(whole, predictor='tuned', value=.5, ci_low=.4, ci_high=.6), dict(whole, predictor='marginal', value=.7, ci_low=None, ci_high=None),
                         dict(whole, predictor='tuned', value=.1, ci_low=.0, ci_high=.2, question_id='roads')])


@pytest.mark.parametrize('which', ['one', 'two'])
def test_a_merged_model_answers_as_its_adapter(which, base, request, tmp_path):
    lm = request.getfixturevalue(which)
    before = answers(lm, people())
    merge(lm, tmp_path/'whole')
    alone = load_model(tmp_path/'whole')
    assert (answers(alone, people()) - before).abs().max() < 1e-4 < (answers(load_model(base), people()) - before).abs().max()
    assert torch.equal(answers(lm, people()), before)
    assert not same_base(alone.base_hash, lm.base_hash)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path/'whole')      # as another program reads it
    tokenizer = AutoTokenizer.from_pretrained(tmp_path/'whole')
    assert tokenizer.chat_template == lm.tokenizer.chat_template and plain.dtype == lm.dtype and not list((tmp_path/'whole').glob('*.bin'))
    told = json.loads((tmp_path/'whole'/'merged.json').read_text())
    assert told['base'] == 'tiny' and told['adapter_hash'] == lineage(lm.adapter)[-1]['adapter_hash']
    assert serve_command(tmp_path/'whole', name='x') == f"vllm serve {tmp_path/'whole'} --served-model-name x"
    with pytest.raises(FileExistsError, match='is not empty'): merge(lm, tmp_path/'whole')


def test_the_folder_for_a_server(one, two, base, tmp_path):
    export_lora(one, tmp_path/'lora')
    assert torch.equal(answers(load_model(base, adapter=tmp_path/'lora'), people()), answers(one, people()))
    config = json.loads((tmp_path/'lora'/'adapter_config.json').read_text())
    assert config['peft_type'] == 'LORA' and config['base_model_name_or_path'] == 'tiny' and not config['modules_to_save'] and 'lm_head' not in config['target_modules']
    assert serve_command(tmp_path/'lora', base=base) == f"vllm serve {base} --enable-lora --max-lora-rank 16 --lora-modules lora={tmp_path/'lora'}"
    (tmp_path/'lora'/'adapter_config.json').write_text(json.dumps({**config, 'r': 40}))
    assert '--max-lora-rank 64' in serve_command(tmp_path/'lora')
    with pytest.raises(ValueError, match='stands on a base that an earlier adapter was merged into'): export_lora(two, tmp_path/'x')


def test_a_card_says_what_is_known_and_nothing_else(one, two, scores, tmp_path):
    gss = Survey.load('gss2018')
    text = adapter_card(two.adapter, data=gss, scores=scores, licence='apache-2.0')
    head = yaml.safe_load(text.split('---')[1])
    assert head['license'] == 'apache-2.0' and head['base_model'] == 'tiny' and head['library_name'] == 'peft'
    for k in ('title', 'citation', 'terms'): assert gss.codebook.about[k] in text
    assert '| tuned | log_score | 0.500 | 0.400 to 0.600 | 12 |' in text and '| marginal | log_score | 0.700 | none | 12 |' in text and '0.100' not in text
    assert [line.split(':')[1].split(',')[0] for line in text.splitlines() if line.startswith('- task (')] == [' 12 records', ' 8 records']     # both stages
    assert 'A simulated respondent is not a person' in text and 'No number here licenses' in text
    bare = adapter_card(one.adapter, data=DATA)
    assert 'license' not in bare.split('---')[1] and 'None were given' in bare
    with pytest.raises(ValueError, match='say what it was trained on'): adapter_card(one.adapter, data=' ')
    (tmp_path/'adapter_config.json').write_text('{"r": 8}')
    assert 'Not known: the adapter came without a card' in adapter_card(tmp_path, data=DATA)


ASK = """
import sys
sys.path.insert(0, sys.argv[1])
from test_publish import *
from alignsurvey.files import fetch_dataset
from alignsurvey.records import read_records
def refused(f, *args, **kw):
    try: f(*args, **kw)
    except (OSError, ValueError) as e: return str(e)
lm = load_model('lab/base', adapter='lab/adapter')
data = read_records(fetch_dataset('PiLabZJU/AlignSurvey_Datasets'), 'roads')
one = json.loads(Path(sys.argv[2]).read_text())
pushed = push(one['adapter'], 'me/tiny-gss', data=DATA)
again = load_model('lab/base', adapter='me/tiny-gss')
print(json.dumps(dict(loaded=repr(lm), said=answers(lm, people()).tolist(), again=answers(again, people()).tolist(), records=len(data), pushed=pushed,
    errors=[refused(load_model, 'lab/nothing'), refused(load_model, 'lab/base', adapter='lab/nothing'), refused(fetch_dataset, 'lab/nothing'), refused(fetch_dataset, 'PiLabZJU/AlignSurvey_Datasets', files='*.csv')])))
"""


def test_from_the_hub_and_to_it(one, base, tmp_path):
    "Model, adapter and data set by their ids, then an upload; with a key in the environment that goes nowhere else."
    shutil.copytree(base, tmp_path/'hub/models/lab/base')
    shutil.copytree(one.adapter, tmp_path/'hub/models/lab/adapter')
    (tmp_path/'hub/datasets/PiLabZJU/AlignSurvey_Datasets').mkdir(parents=True)
    rows = [dict(instruction=r['instruction'], input='', output=r['output']) for r in people(3)]
    (tmp_path/'hub/datasets/PiLabZJU/AlignSurvey_Datasets/roads.json').write_text(json.dumps(rows))
    (tmp_path/'given.json').write_text(json.dumps(dict(adapter=str(one.adapter))))
    (Path(one.adapter)/'notes.txt').write_text('not for others')
    address, asked, server = stub_hub.start(tmp_path/'hub')
    env = dict(os.environ, HF_ENDPOINT=address, HF_HOME=str(tmp_path/'home'), HF_TOKEN='hf_secret', HF_HUB_DISABLE_TELEMETRY='1', HF_HUB_DISABLE_XET='1', TQDM_DISABLE='1', NO_PROXY='127.0.0.1', no_proxy='127.0.0.1')
    done = subprocess.run([sys.executable, '-c', ASK, str(Path(__file__).parent), str(tmp_path/'given.json')], capture_output=True, text=True, env={**env, 'HF_HUB_OFFLINE': '0'}, timeout=600)
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr[-3000:]
    got = json.loads(done.stdout.splitlines()[-1])
    assert 'lab/base + lab/adapter' in got['loaded'] and got['records'] == 6 and got['pushed'] == f'{address}/me/tiny-gss'
    own = answers(one, people())
    for k in ('said', 'again'): assert (torch.tensor(got[k]) - own).abs().max() < 1e-5
    for e, word in zip(got['errors'], ("lab/nothing: can't be loaded", 'lab/nothing: no such folder here, and the hub gave no adapter', 'lab/nothing: the hub gave no data set', 'has no file like *.csv'), strict=True): assert word in e, e
    kept = "from alignsurvey.models.loading import load_model\nprint(load_model('lab/base'))\nload_model('no/such-model')"
    gone = subprocess.run([sys.executable, '-c', kept], capture_output=True, text=True, env={**env, 'HF_HUB_OFFLINE': '0'}, timeout=120)    # nobody answers now
    assert 'LM(lab/base' in gone.stdout and "no/such-model: can't be loaded" in gone.stderr and 'Retrying' not in gone.stderr, gone.stderr[-3000:]
    there = tmp_path/'hub/models/me/tiny-gss'
    assert sorted(f.name for f in there.iterdir()) == ['README.md', 'adapter_config.json', 'adapter_model.safetensors', 'loss.csv', 'sft.json']
    assert ('private', True) in asked
    for f in ('README.md', 'adapter_config.json', 'sft.json'):
        assert str(tmp_path.parent) not in (there/f).read_text() and Path(base).parent.as_posix() not in (there/f).read_text() and 'hf_secret' not in (there/f).read_text()
    assert DATA in (there/'README.md').read_text()


def test_nothing_to_push(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds no weights'): push(tmp_path, 'me/x', data=DATA)


def test_fingerprints_know_a_model_in_another_dtype(base, tmp_path):
    "Rounded to bfloat16 a model has one fingerprint; other weights have another; 4 bits hide the linear layers alone."
    lm, other = load_model(base), load_model(save_tiny(tmp_path/'other', seed=1))
    assert weights_hash(load_model(base, dtype=torch.bfloat16).model) == lm.base_hash != other.base_hash
    lm.model.model.layers[0].mlp.up_proj.weight.data += 1
    changed = weights_hash(lm.model)
    assert changed[:8] == load_model(base).base_hash[:8] and changed[8:] != load_model(base).base_hash[8:]
    lm.model.is_loaded_in_4bit = True
    assert weights_hash(lm.model) == f'{changed[:8]}-4bit-{changed[16:]}' and same_base(weights_hash(lm.model), load_model(base).base_hash)
    assert not same_base(weights_hash(lm.model), other.base_hash)
