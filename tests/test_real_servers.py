"""Real servers with the embedded model, started and stopped here: `transformers serve`, where fastapi and uvicorn are installed,
and llama.cpp's, where LLAMA_PYTHON names a Python that has llama-cpp-python[server] (`make test-servers`)."""
import contextlib, os, socket, subprocess, sys, time, urllib.error, urllib.request
from pathlib import Path
import numpy as np, pytest, torch

from alignsurvey.models.embedded import embedded_folder, packaged_gguf
from alignsurvey.models.loading import load_model
from alignsurvey.models.chat import prompt_ids
from alignsurvey.prediction.elicitation import predict
from alignsurvey.records.orders import reorder
from alignsurvey.prediction.server import connect
from alignsurvey.prediction.completions import score_steps
from alignsurvey.all import Survey


@contextlib.contextmanager
def serving(command, log, seconds=300):
    "A server in a process of its own: its address, once it answers."
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    with open(log, 'w') as out: process = subprocess.Popen([*map(str, command), '--host', '127.0.0.1', '--port', str(port)], stdout=out, stderr=out)
    try:
        until = time.monotonic() + seconds
        while True:
            assert process.poll() is None and time.monotonic() < until, f'the server did not start: {Path(log).read_text()[-2000:]}'
            try: urllib.request.urlopen(f'http://127.0.0.1:{port}/v1/models', timeout=5)
            except urllib.error.HTTPError: break    # it answers; `transformers serve` can't list models where there is no cache of the hub
            except OSError: time.sleep(.5)
            else: break
        yield f'http://127.0.0.1:{port}/v1'
    finally:
        process.kill()
        process.wait()


def gss(n, **how):
    "Records of the General Social Survey, their options in an order of their own."
    records = Survey.load('gss2018').records('response', items=['natsci', 'natroad', 'natpark', 'natchld', 'natmass'], variables=['age', 'sex', 'degree'], respondents=n, verbose=False, **how)
    return reorder(records).select(range(n))


def test_transformers_serve_says_what_the_model_says_here(tmp_path):
    for name in 'fastapi', 'uvicorn': pytest.importorskip(name)
    folder, records = str(embedded_folder()), gss(8)
    command = [Path(sys.executable).with_name('transformers'), 'serve', folder, '--device', 'cpu', '--dtype', 'float32']
    with serving(command, tmp_path/'log') as url:
        server = connect(folder, base_url=url, concurrency=2)
        assert server.probe() == dict(mode='sample', logprobs=0)
        asked = dict(elicitation='greedy', max_new_tokens=10)
        there, here = predict(server, records, **asked), predict(load_model(), records, **asked)
        drawn = predict(server, records.select(range(2)), elicitation='auto', draws=2, max_new_tokens=4)
        with pytest.raises(ConnectionError, match='400 - Server is pinned to') as e: connect('another', base_url=url).probe()
    assert list(there.text) == list(here.text) and list(there.status) == list(here.status)
    assert set(drawn.elicitation) == {'sample'} and '\n' not in str(e.value)


def first_tokens(lm, records):
    "What a server would list of this model here: the twenty likeliest tokens at each of up to four places."
    for r in records:
        ids = torch.tensor([prompt_ids(lm, r['instruction'], r['input'])])
        with torch.no_grad(): out = lm.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=4, output_logits=True, return_dict_in_generate=True)
        steps = []
        for said, logits in zip(out.sequences[0, ids.shape[1]:], out.logits):
            logp, token = logits[0].float().log_softmax(-1).topk(20)
            top = list(zip(map(lm.tokenizer.decode, token.tolist()), logp.tolist()))
            steps.append(dict(token=lm.tokenizer.decode(said), logprob=logp[0].item(), top=top))
        yield score_steps(steps, r)


@pytest.mark.skipif('LLAMA_PYTHON' not in os.environ, reason='make test-servers builds llama.cpp and names its Python')
def test_llama_cpp_gives_the_same_probabilities(tmp_path):
    lm, records = load_model(), gss(int(os.environ.get('LLAMA_RECORDS', 500)), answer_form='label')
    command = [os.environ['LLAMA_PYTHON'], '-m', 'llama_cpp.server', '--model', packaged_gguf(tmp_path), '--logits_all', 'true', '--n_ctx', 2048]
    with serving(command, tmp_path/'log') as url:
        server = connect('smollm2', base_url=url, concurrency=2)
        there = predict(server, records)
        assert server.facts['mode'] == 'score'
    pairs = [(np.array(a), np.array(b['probs'])) for a, b in zip(there.probs, first_tokens(lm, records)) if a is not None and b['status'] == 'ok']
    clear = [(a, b) for a, b in pairs if np.diff(np.sort(b)[-2:])[0] > .06]
    same, gap = np.mean([a.argmax() == b.argmax() for a, b in clear]), np.mean([np.abs(a - b).mean() for a, b in pairs])
    print(f'{len(pairs)} of {len(records)} records answered by both; {len(clear)} with a clear best option, the same in {same:.1%}; mean difference of probabilities {gap:.4f}')
    assert len(pairs) > .95*len(records) and len(clear) > .2*len(records) and same >= .97 and gap <= .03
