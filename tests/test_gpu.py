"A GPU computes what a CPU does. The tests run on a CPU too, so that they are right before a GPU is at hand."
import importlib.util

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from alignsurvey.models.flex import ATTENTION_FORMS, attention_form
from alignsurvey.models.loading import load_model
from alignsurvey.models.prefix import can_share, prefix_batch, read_logprobs, shared_attention
from alignsurvey.models.prefix import shared_generate, shared_option_logprobs
from alignsurvey.models.scoring import option_logprobs, padded_batch
from alignsurvey.prediction.elicitation import predict
from alignsurvey.records.splits import split_records
from alignsurvey.surveys.survey import Survey
from alignsurvey.training.trainer import sft

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
CONFIG = LlamaConfig(vocab_size=64, hidden_size=64, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, bos_token_id=1, eos_token_id=2, pad_token_id=0)
START = [list(range(3, 40)), list(range(40, 5, -1))]    # what two respondents' prompts begin with
PROMPTS = [START[i % 2] + [3 + i]*(i + 1) for i in range(8)]
OPTIONS = [[[4], [5, 6], [7, 8, 9]]]*len(PROMPTS)


@pytest.fixture(params=['cpu', pytest.param('cuda', marks=NO_GPU)])
def device(request):
    return request.param


def model_on(device):
    "A tiny model that says different things of different prompts."
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=.3)
    return model.to(device)


def learnt(model):
    "Log probabilities of a shared pass, and gradients of their sum."
    sequences = [prompt + options[2] for prompt, options in zip(PROMPTS, OPTIONS)]
    batch = prefix_batch(sequences, list(map(len, PROMPTS)), device=model.device)
    model.zero_grad()
    with shared_attention(model):
        logprobs = read_logprobs(model, batch)
    logprobs.sum().backward()
    return [logprobs.detach().cpu(), *(p.grad.cpu() for p in model.parameters())]


def test_options_are_as_likely_as_on_a_cpu_and_as_in_padded_batches(device):
    model = model_on(device)
    assert can_share(model) == (True, '')
    with torch.no_grad():
        shared = shared_option_logprobs(model, PROMPTS, OPTIONS).cpu()
        padded = option_logprobs(model, PROMPTS, OPTIONS).cpu()
        known = option_logprobs(model_on('cpu'), PROMPTS, OPTIONS)
    torch.testing.assert_close(shared, padded, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(shared, known, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('device, form', [('cpu', 'blocks'),
    pytest.param('cuda', 'blocks', marks=NO_GPU), pytest.param('cuda', 'flex', marks=NO_GPU)])
def test_both_forms_of_attention_have_the_gradients_of_a_cpu(device, form, monkeypatch):
    monkeypatch.setitem(ATTENTION_FORMS, device, form)    # FlexAttention has no backward pass on a CPU
    assert attention_form(device) == form
    model, known = model_on(device), model_on('cpu')
    for value, right in zip(learnt(model), learnt(known), strict=True):
        torch.testing.assert_close(value, right, rtol=1e-3, atol=1e-3)


def test_replies_are_those_of_padded_batches(device):
    model = model_on(device)
    ids, mask = padded_batch(PROMPTS, 0, 'left', device)
    how = dict(do_sample=False, max_new_tokens=5, min_new_tokens=5)
    with torch.no_grad():
        padded = model.generate(input_ids=ids, attention_mask=mask, pad_token_id=0, **how)
    assert torch.equal(shared_generate(model, PROMPTS, pad_id=0, **how), padded[:, ids.shape[1]:])


def learns(lm, out):
    "Whether a model can be tuned, asked, and loaded again with what it learnt."
    survey = Survey.load('gss2018')
    records = survey.records('response', items=list(survey.codebook.items)[:2], respondents=6, verbose=False)
    parts = split_records(records, test=.5, seed=0)
    train, test = parts['train'], parts['test']
    tuned = sft(lm, train, out, epochs=1, batch=len(train), micro=1, lr=1e-3)
    said = predict(tuned, test).probs
    again = predict(load_model(adapter=out, device=str(lm.device), quantise=lm.quantise), test).probs
    for shares, others in zip(said, again, strict=True):
        assert sum(shares) == pytest.approx(1) and shares == pytest.approx(others, abs=.03)


def test_a_model_learns(device, tmp_path):
    lm = load_model(device=device)
    assert lm.dtype == (torch.float32 if device == 'cpu' else torch.bfloat16)
    learns(lm, tmp_path/'adapter')


@NO_GPU
@pytest.mark.skipif(not importlib.util.find_spec('bitsandbytes'), reason='bitsandbytes is not installed')
def test_a_model_in_four_bits_learns(tmp_path):
    learns(load_model(device='cuda', quantise='4bit'), tmp_path/'adapter')
